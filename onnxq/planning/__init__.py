"""From a graph and a backend's table to a plan: what becomes integer, and why the rest does not."""

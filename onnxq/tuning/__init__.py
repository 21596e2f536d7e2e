"""Search for the fastest graph that keeps the accuracy, and write down the recipe that makes it."""

"""Ranges of activations that another tool measured, or will take: one file per format."""

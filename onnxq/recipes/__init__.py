"""Recipes as files: their lines, what one extends, their schema, and how they are written down."""

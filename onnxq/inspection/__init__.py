"""What can be told of a model before any data is given: its contents, what would be integer, how its weights spread."""

"""What a run made is kept in a folder, by the content of all that went into it, and not made again.

What is here imports the standard library alone: a build that finds everything in the cache takes no longer than
``onnxq --version`` and hashing.
"""

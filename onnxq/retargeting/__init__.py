"""A quantized model becomes the graph another engine wants, with the grids it learned."""

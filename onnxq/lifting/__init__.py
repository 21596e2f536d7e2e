"""A quantized model becomes the float model it stands for, and the grids that were in it."""

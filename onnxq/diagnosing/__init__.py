"""Where a quantized model loses its accuracy, measured, and what to do about it."""

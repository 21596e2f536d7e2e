"""What an engine makes of a quantized model, whoever made it."""

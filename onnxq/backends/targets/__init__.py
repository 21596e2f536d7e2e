"""Targets that are simulated, not built: one file of data each, whose ``BACKEND`` goes by the file's name."""

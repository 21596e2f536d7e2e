"""What to add to the bias of linear layers, so that integers make what floats make in the mean."""

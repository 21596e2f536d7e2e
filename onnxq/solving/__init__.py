"""Choose the integers of a layer's weights so that the layer errs least on what it reads."""

"""How good the answers of models are on engines: the same metric for all of them."""

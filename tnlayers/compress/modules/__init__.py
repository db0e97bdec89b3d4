"""Surgery on whole torch models: which weights can be networks, what their inputs are, and putting layers in place."""

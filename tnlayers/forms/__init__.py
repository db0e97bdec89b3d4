"""Modules as values: what a layer or a model does with its arrays, free of any framework."""

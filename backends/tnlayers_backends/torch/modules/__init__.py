"""Layers inside whole torch models: storage, hosts, adapters, dense checkpoints, switches for training."""

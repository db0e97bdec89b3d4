"""Measuring with torch: rates of processors and GPUs, and the time of plans."""

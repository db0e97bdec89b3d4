"""The benchmark: `tnlayers bench` times layers against dense ones, other libraries and the machine's limit.

Everything is timed in one process and in turns, so that a slow spell of the machine hits all contenders alike; what is
reported are medians, their spread, and ratios of times taken in the same round.
"""

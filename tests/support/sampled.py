"""Whether samples agree with an expectation."""

from math import sqrt

import numpy as np


def assert_sampled(samples, target):
    """Their mean is the target within 4 standard errors."""
    samples = np.asarray(samples)
    error = samples.std(ddof=1) / sqrt(len(samples))
    assert abs(samples.mean() - target) <= 4 * error + 1e-12 * target

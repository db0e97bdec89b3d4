"""Calls whose warnings are not what a test is about."""

import warnings

import tnlayers as tnl


def quiet(make):
    """What a call makes, without the warnings of tnlayers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tnl.TNLayersWarning)
        return make()

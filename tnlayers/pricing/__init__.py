"""Prices: exact counts of a program, and the seconds that they are estimated to take."""

"""One weight as a network: truncated SVDs, alternating fits, whitening, sizes, orders and spectra."""

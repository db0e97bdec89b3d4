"""Whether layers are right: the declaration as one einsum in double precision, and every backend against it."""

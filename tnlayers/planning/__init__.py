"""Planning: contraction paths, the choice among them, plans as values, as text and on disk."""

"""Programs: a contraction path as flat steps, the layouts they need, and how a batch is carried through them."""

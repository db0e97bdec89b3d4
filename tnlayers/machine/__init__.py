"""The rates of a machine, which turn counts into seconds."""

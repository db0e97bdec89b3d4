"""What concerns the user's machine: whole files, the cache folder, where a number comes from, bars of progress."""

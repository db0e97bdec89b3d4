"""Network types: one file each, of the type's own name; the registry loads it when the type is first asked for."""

"""Where the root of the key hierarchy lives: one file for each kind of vault."""

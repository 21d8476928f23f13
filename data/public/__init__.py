"""Public data sets, a module each: where the files come from, how they are read, and what their rows must be."""

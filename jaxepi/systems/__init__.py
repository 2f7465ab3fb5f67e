"""One package a system, all with the same file names, and the registry of them."""

"""The loop, its state, optimizer, mesh, checkpoints and run log: it knows tasks, never systems."""

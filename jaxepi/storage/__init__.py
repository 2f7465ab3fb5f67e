"""What is written to disk so that a kill at any moment loses nothing: files, jobs, checkpoints, logs."""

"""The loop, its state, optimizer, schedules, keep-best and transfer: it knows tasks, never systems."""

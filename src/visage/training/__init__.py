"""The one training loop, and what it stands on: checkpoints, schedules, processes, the memory budget."""

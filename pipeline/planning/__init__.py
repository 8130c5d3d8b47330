"""What a run's training would take, seen before it starts: memory, time, and what to change where it does not fit."""

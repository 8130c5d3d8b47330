"""From a log that nobody has described to a run file that describes it: what was seen, guessed, asked and stated."""

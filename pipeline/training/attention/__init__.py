"""Attention over segments: many sequences in one row, without padding, that see a shared prompt and themselves."""

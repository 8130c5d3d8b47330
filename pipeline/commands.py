"""The commands that are not the whole line."""

"""The command `thumbline`: arguments to settings to the line, and all that prints."""

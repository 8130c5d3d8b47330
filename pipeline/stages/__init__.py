"""The stages of the line, each named after the table that it makes."""

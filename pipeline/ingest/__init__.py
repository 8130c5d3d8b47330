"""Inputs of any size to events sorted by their ids, with a bounded part of them in memory."""

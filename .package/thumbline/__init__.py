"""Thumbs-up / thumbs-down logs to a better model, and the proof that it is better."""

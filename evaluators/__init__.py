"""Evaluators: scored rows in, metrics with intervals out. No torch, no files, no printing."""

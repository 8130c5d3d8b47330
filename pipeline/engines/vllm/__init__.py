"""Scoring with vLLM: the only place where it is imported."""

"""Scoring engines: token ids in, log-probs out."""

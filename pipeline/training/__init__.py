"""Batches, the model's log-probs, the optimiser loop and its checkpoints."""

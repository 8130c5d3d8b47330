"""Reference log-probs for a user's own rows, and the care of the store that keeps them."""

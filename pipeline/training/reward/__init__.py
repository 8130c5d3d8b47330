"""A thumbs model in training: a causal language model's body under a head that gives one score."""

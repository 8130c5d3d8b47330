"""Training on answers that the policy writes while it trains: sampled, scored by the thumbs model, learnt from."""

"""Training in several processes: who takes part, what each computes, and how the weights lie on them."""

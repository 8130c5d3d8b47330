"""Shared makers of log-prob batches for the loss tests."""

import torch

from thumbline.losses import PairLogps, UnpairedLogps


def pairs(rows=8, dtype=torch.float64, seed=0, grad=True, **other):
    generator = torch.Generator().manual_seed(seed)
    counts = [torch.randint(5, 40, (rows,), generator=generator) for _ in range(2)]
    policy = [-torch.rand(rows, generator=generator, dtype=dtype) * 3 * count for count in counts]
    reference = [logps + torch.randn(rows, generator=generator, dtype=dtype) for logps in policy]
    policy = [logps.to(dtype).requires_grad_(grad) for logps in policy]
    return PairLogps(*policy, *(logps.detach().to(dtype) for logps in reference), *counts, **other)


def unpaired(labels=(True, False, True, False, False), dtype=torch.float64, seed=0, mismatched=5, grad=True, **other):
    generator = torch.Generator().manual_seed(seed)
    rows = len(labels)
    reference = -torch.rand(rows, generator=generator, dtype=dtype) * 60
    policy = (reference + torch.randn(rows, generator=generator, dtype=dtype) * 3).requires_grad_(grad)
    others = -torch.rand(mismatched, generator=generator, dtype=dtype) * 60
    moved = others + torch.rand(mismatched, generator=generator, dtype=dtype)
    counts = torch.arange(3, 3 + rows)
    return UnpairedLogps(policy, torch.tensor(labels), reference, moved, others, **({"token_counts": counts} | other))


def swapped(batch):
    return PairLogps(
        batch.policy_rejected_logps,
        batch.policy_chosen_logps,
        batch.reference_rejected_logps,
        batch.reference_chosen_logps,
        batch.rejected_token_counts,
        batch.chosen_token_counts,
    )

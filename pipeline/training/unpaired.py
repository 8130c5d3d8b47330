"""Unpaired rows and their log-probs as the losses take them."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from thumbline.losses import UnpairedLogps

from .parallel.dealing import Turn
from .parallel.team import Team
from .rows import TrainingSequence, UnpairedRow

_UNPAIRED_FIELDS = (
    "policy_logps",
    "labels",
    "reference_logps",
    "policy_mismatched_logps",
    "reference_mismatched_logps",
)


def partners_of(rows: Sequence[UnpairedRow]) -> list[TrainingSequence]:
    """The mismatched sequences of the rows that have one."""
    return [row.mismatched for row in rows if row.mismatched is not None]


def unpaired_batch(
    rows: Sequence[UnpairedRow], logps: torch.Tensor, statistic: torch.Tensor | None, *, reference: bool = True
) -> UnpairedLogps:
    """Rows with their policy log-probs, and without partners.

    Args:
        rows: Any number.
        logps: (rows,) nats, summed: the policy's.
        statistic: The method's value over the step; None where it is not known.
        reference: Whether a method takes the stored log-probs.
    """
    device = logps.device
    return UnpairedLogps(
        policy_logps=logps,
        labels=torch.tensor([row.label for row in rows], dtype=torch.bool, device=device),
        reference_logps=reference_of([row.matched for row in rows], device) if reference else None,
        policy_mismatched_logps=logps.detach()[:0],
        reference_mismatched_logps=logps.detach()[:0],
        reference_point=statistic,
        weights=torch.tensor([row.weight for row in rows], device=device),
        desirable_probability=torch.tensor([row.desirable_probability for row in rows], device=device),
        token_counts=torch.tensor([len(row.matched.completion_token_ids) for row in rows], device=device),
    )


def with_partners(batch: UnpairedLogps, logps: torch.Tensor, partners: Sequence[TrainingSequence]) -> UnpairedLogps:
    """The batch with partners, which have (partners,) `logps` under the policy."""
    return replace(
        batch,
        policy_mismatched_logps=logps,
        reference_mismatched_logps=reference_of(partners, logps.device),
    )


def of_step(own: Sequence[tuple[Turn, UnpairedLogps]], team: Team, device: torch.device) -> UnpairedLogps:
    """The parts of a step as one, in the parts' order, whichever process computed them."""
    kept = [(turn.place, [getattr(part, name).cpu() for name in _UNPAIRED_FIELDS]) for turn, part in own if turn.counts]
    parts = sorted((part for process in team.gather(kept) for part in process), key=lambda part: part[0])
    whole = [torch.cat(tensors).to(device) for tensors in zip(*(part for _, part in parts), strict=True)]
    return UnpairedLogps(whole[0], whole[1], whole[2], whole[3], whole[4])


def reference_of(sequences: Sequence[TrainingSequence], device: torch.device) -> torch.Tensor:
    """(sequences,) float32 nats, summed, under the reference."""
    return torch.tensor(
        [sequence.reference_logps for sequence in sequences], dtype=torch.float64, device=device
    ).float()

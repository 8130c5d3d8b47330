"""The method's loss on held-out rows from stored log-probs alone: no model is loaded, so no batch size can move it."""

from collections.abc import Sequence
from typing import Final

import polars as pl
import torch

from thumbline.losses import PairLogps, Term, UnpairedLogps, combined, loss_method
from thumbline.losses.length import TailLogps, length_desensitised

# Columns that hold what lies beyond the length of a pair's shorter completion, nats.
TAILS: Final = (
    "policy_chosen_tail_logps",
    "policy_rejected_tail_logps",
    "reference_chosen_tail_logps",
    "reference_rejected_tail_logps",
)


def pair_losses(terms: Sequence[Term], pairs: pl.DataFrame, ld_alpha: float = 1.0) -> pl.Series:
    """The loss of each pair, null throughout where it cannot be had from stored log-probs.

    Args:
        terms: The method and what is added to it.
        pairs: Scored pairs of one model, with `weight`. Where `ld_alpha` is below 1 also with the tails of
            their log-probs, which some of `TAILS` name.
        ld_alpha: Weight of tokens beyond a pair's shorter completion, in [0, 1].
    """
    methods = [loss_method(term.method, term.settings) for term in terms]
    if pairs.is_empty() or any(method.needs_prompt_nll for method in methods):
        return _nothing(pairs.height)
    batch = PairLogps(
        policy_chosen_logps=_tensor(pairs["policy_chosen_logps"]),
        policy_rejected_logps=_tensor(pairs["policy_rejected_logps"]),
        reference_chosen_logps=_tensor(pairs["reference_chosen_logps"]),
        reference_rejected_logps=_tensor(pairs["reference_rejected_logps"]),
        chosen_token_counts=_tensor(pairs["chosen_token_count"]),
        rejected_token_counts=_tensor(pairs["rejected_token_count"]),
        chosen_better_probability=_tensor(pairs["chosen_better_probability"]),
        weights=_tensor(pairs["weight"]),
    )
    if ld_alpha < 1.0:
        if not set(TAILS) <= set(pairs.columns):
            return _nothing(pairs.height)
        batch = length_desensitised(batch, TailLogps(*(_tensor(pairs[name]) for name in TAILS)), ld_alpha)
    return pl.Series("loss", combined(batch, terms).losses.numpy())


def unpaired_losses(terms: Sequence[Term], rows: pl.DataFrame, mismatched: pl.DataFrame) -> pl.Series:
    """The loss of each unpaired row, with one reference point (KTO's z0, BCO's shift) for all of them.

    Training estimates the reference point anew in each step; here all held-out rows give one.

    Args:
        terms: The method and what is added to it.
        rows: Scored unpaired rows of one model, with `weight` and `probability_desirable`.
        mismatched: `policy_logps` and `reference_logps` of completions of other prompts, under the same model.
    """
    if rows.is_empty():
        return _nothing(0)
    batch = UnpairedLogps(
        policy_logps=_tensor(rows["policy_logps"]),
        labels=torch.from_numpy(rows["label"].to_numpy(writable=True)),
        reference_logps=_tensor(rows["reference_logps"]),
        policy_mismatched_logps=_tensor(mismatched["policy_logps"]),
        reference_mismatched_logps=_tensor(mismatched["reference_logps"]),
        weights=_tensor(rows["weight"]),
        desirable_probability=_tensor(rows["probability_desirable"]),
        token_counts=_tensor(rows["token_count"]),
    )
    return pl.Series("loss", combined(batch, terms).losses.numpy())


def _tensor(values: pl.Series) -> torch.Tensor:
    return torch.from_numpy(values.cast(pl.Float64).to_numpy(writable=True))


def _nothing(rows: int) -> pl.Series:
    return pl.Series("loss", [None] * rows, dtype=pl.Float64)

"""A weighted sum of methods on the same batch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import torch

from .registry import loss_config, loss_spec
from .types import PairLogps, PairLossOutput, UnpairedLogps, UnpairedLossOutput


@dataclass(frozen=True)
class Term:
    """One method of a sum.

    Attributes:
        method: A name of `LOSSES`.
        weight: Finite factor on its losses.
        settings: Its hyper-parameters, where they are not the defaults.
    """

    method: str
    weight: float = 1.0
    settings: Mapping[str, Any] = field(default_factory=dict)


@overload
def combined(batch: PairLogps, terms: Sequence[Term]) -> PairLossOutput: ...
@overload
def combined(batch: UnpairedLogps, terms: Sequence[Term]) -> UnpairedLossOutput: ...
def combined(batch: PairLogps | UnpairedLogps, terms: Sequence[Term]) -> PairLossOutput | UnpairedLossOutput:
    """The weighted sum of the terms' losses, with the first term's rewards.

    Args:
        batch: Pairs or unpaired rows, with what every term needs.
        terms: At least one; all on pairs or all on unpaired rows.

    Raises:
        ValueError: There is no term, one is unknown, a weight is not finite, or a term takes the other kind of batch.
        MissingInputError: The batch lacks what a term needs.
    """
    if not terms:
        raise ValueError("a weighted sum needs at least one term.")
    outputs = [_output(batch, term) for term in terms]
    total: torch.Tensor = torch.stack(
        [term.weight * output.losses for term, output in zip(terms, outputs, strict=True)]
    ).sum(dim=0)
    first = outputs[0]
    if isinstance(first, PairLossOutput):
        return PairLossOutput(total, first.chosen_rewards, first.rejected_rewards, first.margin_moments)
    return UnpairedLossOutput(total, first.rewards, first.reference_point)


def _output(batch: PairLogps | UnpairedLogps, term: Term) -> PairLossOutput | UnpairedLossOutput:
    spec = loss_spec(term.method)
    if not math.isfinite(term.weight):
        raise ValueError(f"the weight of '{term.method}' must be finite, not {term.weight}.")
    if spec.paired != isinstance(batch, PairLogps):
        raise ValueError(
            f"'{term.method}' takes {'pairs' if spec.paired else 'unpaired rows'}, and this batch holds the others; "
            f"methods can be added up only on the same rows."
        )
    output: PairLossOutput | UnpairedLossOutput = spec.function(batch, loss_config(term.method, term.settings))
    return output

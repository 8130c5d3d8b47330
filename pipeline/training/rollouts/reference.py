"""The reference: what the policy was before its first step, as a second model or as the policy without its adapter."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from ..policy import Meter, Policy
from ..rows import TrainingSequence
from ..scorer import EachToken, Scorer


class Reference:
    """A frozen model, in the policy's types and layout: before the first step they give the same numbers.

    Attributes:
        own: The model where it is one of its own; None where it is the policy without its adapter.
    """

    def __init__(self, policy: Policy) -> None:
        """Copy the policy's model; where it has an adapter nothing is copied.

        Args:
            policy: Before its first step, without what predicts values.
        """
        self._policy = policy
        self.own = None if policy.adapted is not None else _frozen(policy)

    @property
    def holds_weights(self) -> bool:
        """Whether it is a model of its own in memory."""
        return self.own is not None

    @torch.no_grad()
    def each_token(self, sequences: Sequence[TrainingSequence]) -> EachToken:
        """Log-probs of single completion tokens."""
        with self._without_adapter() as policy:
            each = policy.pass_over(sequences, each=True).each
        assert each is not None
        return each._replace(values=None)

    @contextmanager
    def _without_adapter(self) -> Iterator[Policy]:
        if self.own is not None:
            yield self.own
            return
        with self._policy.adapted.disable_adapter():
            yield self._policy


def _frozen(policy: Policy) -> Policy:
    scorer: Any = policy.scorer
    model = copy.deepcopy(policy.model).requires_grad_(False)
    return replace(policy, model=model, scorer=Scorer(model, scorer.autocast_dtype), meter=Meter())

"""Floating-point operations of a step: of its updates, and of what is sampled and scored before them."""

from typing import NamedTuple

from .rollout_steps import DECODE, OWN_PASS, PREFILL, REFERENCE_PASS
from .rollout_work import RolloutWork
from .tracing import Trace
from .work import Work


class Operations(NamedTuple):
    """Of one step on average; a product and a sum count as two.

    Attributes:
        training: Forward and backward passes, recomputation included.
        sampling: Prompts read once for all their answers, then a token at a time with what is kept of those before.
        scoring: Answers under the thumbs model, and under policy and reference without a gradient.
        tokens: That the policy's layers compute, padding included.
    """

    training: float
    sampling: float
    scoring: float
    tokens: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.training + self.sampling + self.scoring


def operations(trace: Trace, work: Work | RolloutWork) -> Operations:
    """What a step of a run computes on average.

    Args:
        trace: Of its largest forward passes.
        work: What is trained on.
    """
    share = trace.flops / work.largest_tokens
    if not isinstance(work, RolloutWork):
        return Operations(share * work.step_tokens, 0.0, 0.0, work.step_tokens)
    own, before = work.sampled, trace.before
    assert trace.scored is not None, "a trace of sampled answers"
    passes = (before[OWN_PASS] + before[REFERENCE_PASS]) / work.largest_tokens * own.pass_tokens
    written = own.answers * own.new_tokens
    judged = own.prompt_tokens * own.samples + written
    return Operations(
        training=share * own.pass_tokens * own.epochs,
        sampling=before[PREFILL] + before[DECODE],
        scoring=passes + trace.scored.flops * judged,
        tokens=own.pass_tokens * (own.epochs + 1) + own.prompt_tokens + written,
    )

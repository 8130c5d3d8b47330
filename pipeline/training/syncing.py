"""The policy taken for the reference anew, every so many steps: its log-probs of the rows of the steps that follow.

No second model is held: which rows a step takes is known beforehand, so before the first of such steps the policy
scores the rows of all of them, and its weights move on. A checkpoint is kept only between two such stretches, so that a
resumed run scores with the very weights.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from .goal import Goal
from .policy import Policy
from .rows import PairRow, Row, TrainingSequence, UnpairedRow

RowsOf = Callable[[int], list[Row]]


class FollowingReference:
    """Log-probs of the steps' rows under the policy as it was when their stretch began."""

    def __init__(self, policy: Policy, objective: Goal, rows_of: RowsOf, every: int, total: int) -> None:
        """Score nothing yet.

        Args:
            policy: The model.
            objective: Cuts rows into forward passes.
            rows_of: The rows of a step, counted from 0.
            every: Steps of a stretch.
            total: Steps of the whole run.
        """
        self._policy, self._objective, self._rows_of = policy, objective, rows_of
        self._every, self._total = every, total
        self._known: dict[str, TrainingSequence] = {}

    def begins(self, step: int) -> bool:
        """Whether a stretch begins with this step: only there may a run go on."""
        return step % self._every == 0

    def rows(self, step: int) -> list[Row]:
        """The rows of a step, asked for in order; the first stretch's have the stored reference's log-probs."""
        if step < self._every:
            return self._rows_of(step)
        if self.begins(step):
            self._score([row for later in self._stretch(step) for row in self._rows_of(later)])
        return [self._with_known(row) for row in self._rows_of(step)]

    def _stretch(self, step: int) -> range:
        return range(step, min(step + self._every, self._total))

    @torch.no_grad()
    def _score(self, rows: Sequence[Row]) -> None:
        self._known = {}
        distinct = list({row.row_id: row for row in rows}.values())
        for part in self._objective.parts(self._policy, distinct):
            sequences = list({one.sequence_id: one for row in part for one in row.sequences}.values())
            passed = self._policy.pass_over(sequences, tokens=True)
            assert passed.tokens is not None
            for sequence, values, sum_, kept in zip(
                sequences, passed.tokens.logps, passed.completions.logps, passed.tokens.mask, strict=True
            ):
                of_tokens = None if sequence.reference_token_logps is None else values[kept].float().cpu().numpy()
                self._known[sequence.sequence_id] = replace(
                    sequence, reference_logps=float(sum_), reference_token_logps=of_tokens
                )

    def _with_known(self, row: Row) -> Row:
        if isinstance(row, PairRow):
            return replace(row, chosen=self._of(row.chosen), rejected=self._of(row.rejected))
        assert isinstance(row, UnpairedRow)
        mismatched = None if row.mismatched is None else self._of(row.mismatched)
        return replace(row, matched=self._of(row.matched), mismatched=mismatched)

    def _of(self, sequence: TrainingSequence) -> TrainingSequence:
        return self._known[sequence.sequence_id]

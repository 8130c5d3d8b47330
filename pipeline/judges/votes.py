"""Votes of the log as a judge: where the same answer to the same prompt was shown before, what people said of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import polars as pl
from pydantic import Field

from ..config.base import StageConfig
from ..context import Advance
from ..identity import response_id
from .base import Answer, Judgement, JudgeSpec, Surroundings


class VotesOptions(StageConfig):
    """How few votes are drawn towards the log's own rate."""

    prior_votes: float = Field(
        2.0,
        ge=0.0,
        allow_inf_nan=False,
        description="Votes of the log's mean rate that every answer is given beside its own.",
    )


class _Votes(NamedTuple):
    up: int
    down: int


class VotesJudge:
    """Counted votes by response id."""

    def __init__(self, votes: Mapping[str, _Votes], prior_votes: float, name: str) -> None:
        """Take them counted.

        Args:
            votes: Thumbs up and down of each answer of the log.
            prior_votes: Votes of the log's mean rate beside an answer's own.
            name: For what is said.
        """
        up, down = sum(one.up for one in votes.values()), sum(one.down for one in votes.values())
        self._votes, self._prior, self._name = votes, prior_votes, name
        self._rate = up / (up + down) if up + down else None
        self._seen: Counter[str] = Counter()

    def judge(self, answers: Sequence[Answer], advance: Advance) -> list[Judgement]:
        """The smoothed share of thumbs up of each answer that the log has votes on."""
        table = pl.DataFrame(
            {"prompt": [answer.prompt_id for answer in answers], "text": [answer.completion for answer in answers]},
            schema={"prompt": pl.String, "text": pl.String},
        )
        ids = table.select(response_id(pl.col("prompt"), pl.col("text"))).to_series()
        made = [self._one(identifier) for identifier in ids]
        advance(len(answers))
        return made

    def _one(self, identifier: str) -> Judgement:
        votes = self._votes.get(identifier)
        if votes is None:
            return self._none("not_seen_before")
        count = votes.up + votes.down
        if not count or self._rate is None:
            return self._none("seen_without_votes")
        self._seen["judged"] += 1
        return Judgement((votes.up + self._prior * self._rate) / (count + self._prior))

    def _none(self, reason: str) -> Judgement:
        self._seen[reason] += 1
        return Judgement(None, reason)

    def facts(self) -> Mapping[str, Any]:
        """How many of the answers were in the log."""
        total, judged = self._seen.total(), self._seen["judged"]
        if not total:
            return {}
        return {
            "said": [
                f"{self._name}: {judged:,} of {total:,} answers stand in the log with votes, word for word; nothing is "
                f"said of the others."
            ]
        }

    def close(self) -> None:
        """Nothing is held."""


def open_votes(options: VotesOptions, surroundings: Surroundings) -> VotesJudge:
    """The log's votes, read."""
    rows = surroundings.votes().select("response_id", "n_up", "n_down").iter_rows()
    votes = {identifier: _Votes(up, down) for identifier, up, down in rows}
    return VotesJudge(votes, options.prior_votes, surroundings.name)


SPEC: Final = JudgeSpec(
    "Votes of the log on the very same answer, where it was shown before.", False, VotesOptions, open_votes
)

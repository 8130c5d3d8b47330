"""What every judge is: answers in, a score each; or pairs of answers in, which of the two is better.

A judge is opened once and then asked in parts. What it says of an answer may hang on that answer alone, never on what
else is in the part: tables are the same however they were cut.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import polars as pl

from ..config import SequencesConfig
from ..config.base import StageConfig
from ..context import Advance, Reporter, SilentReporter

# One turn of a conversation: keys `role` and `content`, and `extra`, JSON of what else it says, or None.
Message = Mapping[str, Any]


class Answer(NamedTuple):
    """One answer to be judged.

    Attributes:
        generation_id: Its id in `generations`.
        prompt_id: Id of the prompt, as in `responses`.
        prompt: The messages before the answer.
        tools: JSON of the tools on offer; None where there were none.
        completion: The answer's text.
        prompt_token_ids: The prompt as the run's untrained model reads it.
        completion_token_ids: The answer's tokens in the order in which they were sampled; may be empty.
    """

    generation_id: str
    prompt_id: str
    prompt: Sequence[Message]
    tools: str | None
    completion: str
    prompt_token_ids: Sequence[int] = ()
    completion_token_ids: Sequence[int] = ()


class AnswerPair(NamedTuple):
    """Two answers to one prompt, in the order in which they are shown."""

    first: Answer
    second: Answer


class Judgement(NamedTuple):
    """What a judge says of one answer.

    Attributes:
        score: A finite number, higher is better; None where there is none.
        reason: Why there is none, as one word of the judge's own such as `not_seen_before`.
    """

    score: float | None
    reason: str | None = None


class Preference(NamedTuple):
    """What a judge says of two answers.

    Attributes:
        first: 1 where the first shown is better, 0 where the second is, one half for a tie; None for no verdict.
        reason: Why there is none.
    """

    first: float | None
    reason: str | None = None


class PointwiseJudge(Protocol):
    """A judge that looks at one answer at a time."""

    def judge(self, answers: Sequence[Answer], advance: Advance) -> list[Judgement]:
        """What it says of each answer, in their order; `advance` is called with the number of answers just judged.

        Raises:
            PipelineError: It cannot go on.
        """

    def facts(self) -> Mapping[str, Any]:
        """What else there is to say of it, as JSON values; `said` holds sentences that a person should read."""

    def close(self) -> None:
        """Free what it holds; also called after an error."""


class PairwiseJudge(Protocol):
    """A judge that looks at two answers at a time, and is asked for each pair in both orders."""

    def compare(self, pairs: Sequence[AnswerPair], advance: Advance) -> list[Preference]:
        """What it says of each pair, in their order; `advance` is called with the number of pairs just judged.

        Raises:
            PipelineError: It cannot go on.
        """

    def facts(self) -> Mapping[str, Any]:
        """What else there is to say of it, as JSON values; `said` holds sentences that a person should read."""

    def close(self) -> None:
        """Free what it holds; also called after an error."""


def _no_votes() -> pl.DataFrame:
    return pl.DataFrame(schema={"response_id": pl.String, "n_up": pl.Int64, "n_down": pl.Int64})


@dataclass(frozen=True)
class Surroundings:
    """What a judge may look at beside the answers.

    Attributes:
        name: What the judge is called in tables, for errors and bars.
        reporter: Where to say what is going on.
        thumbs_model: Folder of the run's thumbs model; None where there is none.
        text: How that model's texts became token ids.
        votes: Gives the log's answers: response_id, n_up, n_down.
        replies: Folder or address where replies that cost something are kept; None keeps none.
        device: Where models run: `auto`, `cpu`, `cuda`, or `cuda:N`.
        dtype: Type of their weights and products.
    """

    name: str
    reporter: Reporter = field(default_factory=SilentReporter)
    thumbs_model: Path | None = None
    text: SequencesConfig = field(default_factory=SequencesConfig)
    votes: Callable[[], pl.DataFrame] = _no_votes
    replies: str | None = None
    device: str = "auto"
    dtype: str = "bfloat16"


def depends_on_nothing(options: Any) -> Mapping[str, str]:
    """The options decide everything."""
    del options
    return {}


def nothing_to_check(options: Any) -> None:
    """The options hold wherever they were read."""
    del options


@dataclass(frozen=True)
class JudgeSpec:
    """One kind of judge.

    Attributes:
        description: One line for `thumbline judges`.
        pairwise: Whether it compares two answers; else it scores one.
        options: Its settings.
        open: (options, surroundings) -> a judge that is ready to be asked: a `PairwiseJudge` where `pairwise`, else a
            `PointwiseJudge`.
        depends: Options to digests of what else decides what it says: files, models.
        check: Called with the options before any work; raises ConfigError where this machine lacks what they name.
        manner: Options that decide how it is asked and not what it says; changing one judges nothing again.
    """

    description: str
    pairwise: bool
    options: type[StageConfig]
    open: Callable[[Any, Surroundings], Any]
    depends: Callable[[Any], Mapping[str, str]] = depends_on_nothing
    check: Callable[[Any], None] = nothing_to_check
    manner: frozenset[str] = frozenset()

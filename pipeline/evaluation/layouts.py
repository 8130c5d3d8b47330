"""Layouts of public preference data that no log format has: several answers a row, and rated answers.

Every other layout is that of an importer which reads explicit comparisons. A record that cannot be read for sure is a
`RowError` with a reason, never a guess.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from ..importers.base import Message
from ..importers.shared import values
from ..importers.shared.messages import Answer, answer, messages
from ..importers.shared.prompts import PromptColumns, in_context, no_prompt, prompt_name, prompt_of
from ..reading.records import Record, RowError, Sample

# HelpSteer writes earlier turns into the prompt, each after this mark and the speaker's name.
_EARLIER_TURN: Final = re.compile(r"\n?<extra_id_1>(User|Assistant)\n")
_LARGEST: Final = 2**63
# The layout of rated answers.
RATED: Final = "ratings"
RATINGS: Final = ("helpfulness", "overall_score", "score", "rating")


class Preference(NamedTuple):
    """One pair of answers to one prompt, and the tools that were offered with it."""

    prompt: list[Message]
    chosen: Answer
    rejected: Answer
    tools: str | None = None


class Rated(NamedTuple):
    """One answer with a number; answers to the same prompt are compared by it."""

    prompt: list[Message]
    completion: Answer
    rating: float


Parsed: TypeAlias = list[Preference] | Rated


@dataclass(frozen=True)
class Layout:
    """One layout of public preference data.

    Attributes:
        name: What `--layout` says.
        description: One line for people.
        detect: Whether a sample of a file is of this layout.
        parse: (record, name of the rating column, columns of a prompt) -> what it holds.
        slices: Columns that are evaluated apart without being asked for.
    """

    name: str
    description: str
    detect: Callable[[Sample], bool]
    parse: Callable[[Record, str, PromptColumns], Parsed]
    slices: tuple[str, ...] = ()


def rating_column(sample: Sample) -> str:
    """The first column of a known rating's name; the first known name where there is none."""
    return next((name for name in RATINGS if name in sample.fields), RATINGS[0])


def _is_benchmark(sample: Sample) -> bool:
    return set(sample.fields) >= {"prompt", "chosen", "rejected", "subset"}


def _is_rated(sample: Sample) -> bool:
    return set(sample.fields) >= {"prompt", "response"} and rating_column(sample) in sample.fields


def _benchmark(record: Record, _: str, columns: PromptColumns) -> Parsed:
    """A pair, or with lists of answers on either side every pair of them."""
    row = record.value
    prompt = prompt_of(row, columns)
    sides = {field: _answers(values.present(row, field), field, prompt) for field in ("chosen", "rejected")}
    return [Preference(prompt, chosen, rejected) for chosen in sides["chosen"] for rejected in sides["rejected"]]


def _answers(value: Any, field: str, prompt: list[Message]) -> list[Answer]:
    if isinstance(value, list) and value and all(isinstance(entry, str) for entry in value):
        return [answer(entry, field) for entry in value]
    if isinstance(value, list):
        said = messages(value, field, empty="empty_completion")
        # A side that repeats the prompt before its answer.
        value = said[len(prompt) :] if values.same_messages(prompt, said) == len(prompt) else said
    return [answer(value, field)]


def _rated(record: Record, rating: str, columns: PromptColumns) -> Parsed:
    row = record.value
    completion = answer(values.present(row, "response"), "response")
    name = prompt_name(row, columns)
    if name is None:
        raise no_prompt(row, columns)
    return Rated(in_context(row, columns, _earlier_turns(row[name])), completion, _number(row, rating))


def _number(row: Mapping[str, Any], field: str) -> float:
    value = values.present(row, field)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise RowError("wrong_type", f"field '{field}' is a {type(value).__name__}, not a number")
    try:
        return float(value)
    except OverflowError:
        raise RowError("wrong_type", f"field '{field}' is larger than any number that is compared") from None


def _earlier_turns(value: Any) -> list[Message]:
    if not isinstance(value, str) or not _EARLIER_TURN.search(value):
        return messages(value, "prompt", empty="empty_prompt")
    first, *parts = _EARLIER_TURN.split(value)
    turns = [{"role": "user", "content": first}]
    turns += [
        {"role": "user" if speaker == "User" else "assistant", "content": said}
        for speaker, said in zip(parts[::2], parts[1::2], strict=True)
    ]
    # The prompt ends by naming the assistant as the next speaker.
    return turns[:-1] if turns[-1] == {"role": "assistant", "content": ""} else turns


# From the most to the least particular: the first that fits is taken, and before every importer.
LAYOUTS: Final[Mapping[str, Layout]] = {
    layout.name: layout
    for layout in (
        Layout(
            "rewardbench",
            "RewardBench: prompt, chosen, rejected, and the subset that is evaluated apart.",
            _is_benchmark,
            _benchmark,
            ("subset",),
        ),
        Layout(
            RATED,
            "Rated answers, as HelpSteer's: two answers of one prompt whose ratings differ are a pair.",
            _is_rated,
            _rated,
        ),
    )
}


def slice_value(value: object) -> str | float | None:
    """A column's value as it is sliced by: a text or a number; None where it says nothing.

    Raises:
        RowError: It is neither a text, a number nor a truth value.
    """
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        # What no column of numbers holds is a name: an id.
        return value if isinstance(value, float) or -_LARGEST <= value < _LARGEST else str(value)
    raise RowError("wrong_type", f"a column to slice by holds a {type(value).__name__}")

"""Layouts of public preference data: one record to a preference, or to a rated response of which pairs are made.

A record that cannot be read for sure is a `RowError` with a reason, never a guess.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from pipeline.importers import values
from pipeline.importers.base import Message, Record, RowError, Sample
from pipeline.importers.trl import shared_text

_TURN: Final = re.compile(r"\n\n(Human|Assistant):")
_ROLE: Final = {"Human": "user", "Assistant": "assistant"}
# HelpSteer writes earlier turns into the prompt, each after this mark and the speaker's name.
_EARLIER_TURN: Final = re.compile(r"\n?<extra_id_1>(User|Assistant)\n")
RATINGS: Final = ("helpfulness", "overall_score", "score", "rating")


class Preference(NamedTuple):
    """One pair of answers to one prompt."""

    prompt: list[Message]
    chosen: str
    rejected: str


class Rated(NamedTuple):
    """One answer with a number; answers to the same prompt are compared by it."""

    prompt: list[Message]
    completion: str
    rating: float


Parsed: TypeAlias = list[Preference] | Rated


@dataclass(frozen=True)
class Layout:
    """One layout of public preference data.

    Attributes:
        name: What `--layout` says.
        description: One line for people.
        detect: Whether a sample of a file is of this layout.
        parse: (record, name of the rating column) -> what it holds.
        slices: Columns that are evaluated apart without being asked for.
    """

    name: str
    description: str
    detect: Callable[[Sample], bool]
    parse: Callable[[Record, str], Parsed]
    slices: tuple[str, ...] = ()


def rating_column(sample: Sample) -> str:
    """The first column of a known rating's name; the first known name where there is none."""
    return next((name for name in RATINGS if name in sample.fields), RATINGS[0])


def _columns(*names: str) -> Callable[[Sample], bool]:
    return lambda sample: set(sample.fields) >= set(names)


def _is_rated(sample: Sample) -> bool:
    return set(sample.fields) >= {"prompt", "response"} and rating_column(sample) in sample.fields


def _is_transcript(sample: Sample) -> bool:
    if not {"chosen", "rejected"} <= set(sample.fields) or "prompt" in sample.fields:
        return False
    first = sample.records[0].get("chosen")
    return isinstance(first, str) and _TURN.match(f"\n\n{first.lstrip()}") is not None


def _trl(record: Record, _: str) -> Parsed:
    row = record.value
    return [_explicit(row) if row.get("prompt") is not None else _implicit(row)]


def _explicit(row: Mapping[str, Any]) -> Preference:
    prompt = values.messages(values.present(row, "prompt"), "prompt", empty="empty_prompt")
    return Preference(prompt, _side(row, "chosen", prompt), _side(row, "rejected", prompt))


def _side(row: Mapping[str, Any], field: str, prompt: list[Message]) -> str:
    """A side's answer; the prompt, where the side repeats it, is cut."""
    value = values.present(row, field)
    if isinstance(value, list):
        found = values.messages(value, field, empty="empty_completion")
        value = found[len(prompt) :] if values.same_messages(prompt, found) == len(prompt) else found
    return values.answer(value, field)


def _implicit(row: Mapping[str, Any]) -> Preference:
    """Two sides that each begin with the prompt."""
    chosen, rejected = values.present(row, "chosen"), values.present(row, "rejected")
    if isinstance(chosen, str) and isinstance(rejected, str):
        shared = shared_text(chosen, rejected)
        prompt: Any = chosen[:shared]
    elif isinstance(chosen, list) and isinstance(rejected, list):
        chosen = values.messages(chosen, "chosen", empty="empty_completion")
        rejected = values.messages(rejected, "rejected", empty="empty_completion")
        shared = values.same_messages(chosen, rejected)
        prompt = chosen[:shared]
    else:
        raise RowError("wrong_type", "fields 'chosen' and 'rejected' are not both texts or both lists of messages")
    if not prompt:
        raise RowError("empty_prompt", "fields 'chosen' and 'rejected' do not begin alike, and there is no 'prompt'")
    return Preference(
        values.messages(prompt, "prompt", empty="empty_prompt"),
        values.answer(chosen[shared:], "chosen"),
        values.answer(rejected[shared:], "rejected"),
    )


def _rewardbench(record: Record, _: str) -> Parsed:
    """A pair, or with lists of answers on either side every pair of them."""
    row = record.value
    prompt = values.messages(values.present(row, "prompt"), "prompt", empty="empty_prompt")
    sides = {field: _texts(values.present(row, field), field, prompt) for field in ("chosen", "rejected")}
    return [Preference(prompt, chosen, rejected) for chosen in sides["chosen"] for rejected in sides["rejected"]]


def _texts(value: Any, field: str, prompt: list[Message]) -> list[str]:
    if isinstance(value, list) and value and all(isinstance(entry, str) for entry in value):
        return [values.answer(entry, field) for entry in value]
    return [_side({field: value}, field, prompt)]


def _ultrafeedback(record: Record, rating: str) -> Parsed:
    row = record.value
    chosen, rejected = (_number(row, f"score_{side}") for side in ("chosen", "rejected"))
    if chosen <= rejected:
        raise RowError("tied" if chosen == rejected else "scores_disagree", "the scores do not put chosen first")
    return _trl(record, rating)


def _number(row: Mapping[str, Any], field: str) -> float:
    value = values.present(row, field)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise RowError("wrong_type", f"field '{field}' is a {type(value).__name__}, not a number")
    return float(value)


def _transcript(record: Record, _: str) -> Parsed:
    sides = {field: _turns(record.value, field) for field in ("chosen", "rejected")}
    prompt = sides["chosen"][:-1]
    if prompt != sides["rejected"][:-1]:
        raise RowError("prompts_differ", "the two transcripts differ before their last turn")
    answers = {field: values.answer(turns[-1:], field) for field, turns in sides.items()}
    return [Preference(prompt, answers["chosen"], answers["rejected"])]


def _turns(row: Mapping[str, Any], field: str) -> list[Message]:
    """A transcript as messages; it has to open with a turn, and to end with the assistant's."""
    text = values.text(row, field, empty="empty_completion")
    lead, *parts = _TURN.split(f"\n\n{text.lstrip()}")
    turns = [
        {"role": _ROLE[speaker], "content": said.strip()} for speaker, said in zip(parts[::2], parts[1::2], strict=True)
    ]
    if lead.strip() or len(turns) < 2 or turns[-1]["role"] != "assistant":
        raise RowError("no_transcript", f"field '{field}' is no transcript that ends with the assistant's turn")
    return turns


def _rated(record: Record, rating: str) -> Parsed:
    row = record.value
    completion = values.answer(values.present(row, "response"), "response")
    return Rated(_earlier_turns(values.present(row, "prompt")), completion, _number(row, rating))


def _earlier_turns(value: Any) -> list[Message]:
    if not isinstance(value, str) or not _EARLIER_TURN.search(value):
        return values.messages(value, "prompt", empty="empty_prompt")
    first, *parts = _EARLIER_TURN.split(value)
    turns = [{"role": "user", "content": first}]
    turns += [
        {"role": "user" if speaker == "User" else "assistant", "content": said}
        for speaker, said in zip(parts[::2], parts[1::2], strict=True)
    ]
    # The prompt ends by naming the assistant as the next speaker.
    return turns[:-1] if turns[-1] == {"role": "assistant", "content": ""} else turns


# From the most to the least particular: the first that fits is taken.
LAYOUTS: Final[Mapping[str, Layout]] = {
    layout.name: layout
    for layout in (
        Layout(
            "rewardbench",
            "RewardBench: prompt, chosen, rejected, and the subset that is evaluated apart.",
            _columns("prompt", "chosen", "rejected", "subset"),
            _rewardbench,
            ("subset",),
        ),
        Layout(
            "ultrafeedback",
            "UltraFeedback, binarized: prompt, chosen, rejected and their scores; a tie of scores is no pair.",
            _columns("prompt", "chosen", "rejected", "score_chosen", "score_rejected"),
            _ultrafeedback,
        ),
        Layout("hh_rlhf", "HH-RLHF: two transcripts that differ in the last turn.", _is_transcript, _transcript),
        Layout(
            "helpsteer",
            "HelpSteer: prompt, response and ratings; two answers of one prompt with different ratings are a pair.",
            _is_rated,
            _rated,
        ),
        Layout(
            "trl",
            "TRL: chosen and rejected with the prompt beside them or inside, text or messages.",
            _columns("chosen", "rejected"),
            _trl,
        ),
    )
}


def layout_of(sample: Sample) -> Layout | None:
    """The layout of a sample; None where no layout fits."""
    if not sample.records:
        return None
    return next((layout for layout in LAYOUTS.values() if layout.detect(sample)), None)


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
        return value
    raise RowError("wrong_type", f"a column to slice by holds a {type(value).__name__}")

"""What a log's first rows tell, as options that state it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..importers import thumbs_jsonl, two_answers
from ..importers.registry import importer
from ..importers.shared.fields import LEAVABLE, REQUIRED
from ..importers.shared.times import told_unit
from ..importers.two_answers_columns import columns_of
from ..reading.records import Options, Sample
from .columns import further_columns
from .votes import Word, stated


class Stated(NamedTuple):
    """An option, its value, and what it is told by."""

    option: str
    value: str
    why: str


def told(format_name: str, samples: Sequence[Sample], options: Options, words: Sequence[Word]) -> list[Stated]:
    """Columns, labels and the unit of times of a log, where its format has options for them.

    Args:
        format_name: What the run file states; `auto` has none.
        samples: The first rows of each source of that format.
        options: What is stated already.
        words: The labels and what they are taken for.

    Raises:
        InputError: A column is not clear.
        ConfigError: An option's value does not hold.
    """
    found = [
        Stated(field, column, "found by its name" if column else "its usual column holds something else")
        for field, column in _columns(format_name, samples, options).items()
        if not column or all(column in sample.fields for sample in samples)
    ]
    if format_name == thumbs_jsonl.NAME:
        known = [word for word in words if word.known]
        found += [
            Stated(name, labels, "known words") for name, labels in stated(known).items() if name in ("up", "down")
        ]
    created_at = {**{one.option: one.value for one in found}, **options}.get("created_at")
    return [*found, *_unit(format_name, samples, created_at)]


def _columns(format_name: str, samples: Sequence[Sample], options: Options) -> Mapping[str, str]:
    if not samples or not samples[0].records:
        return {}
    if format_name == thumbs_jsonl.NAME:
        usual = thumbs_jsonl.layout_of(samples[0], options).columns
        there = {name: column for name, column in usual.items() if column in samples[0].fields}
        needed = {there[name] for name in REQUIRED}
        # A prompt's column `user` names nobody.
        twice = {name: "" for name in LEAVABLE if there.get(name) in needed}
        kept = {name: column for name, column in there.items() if name not in twice}
        return twice | kept | further_columns(samples[0], kept)
    if format_name == two_answers.NAME:
        columns = columns_of(samples[0], options)
        scores = columns.scores or (None, None)
        named = {
            "prompt": columns.prompt.prompt[0],
            "first": columns.pair.first,
            "second": columns.pair.second,
            "preference": columns.preference,
            "first_score": scores[0],
            "second_score": scores[1],
            "first_model": columns.models[0],
            "second_model": columns.models[1],
            **columns.beside,
        }
        return {name: column for name, column in named.items() if column is not None}
    return {}


def _unit(format_name: str, samples: Sequence[Sample], column: str | None) -> list[Stated]:
    """The unit of times that are numbers; none where they are of several."""
    if column is None or "time_unit" not in importer(format_name).options:
        return []
    values = (record.get(column) for sample in samples for record in sample.records)
    units = {unit for value in values if (unit := told_unit(value)) is not None}
    return [Stated("time_unit", units.pop(), f"the size of the numbers in {column}")] if len(units) == 1 else []

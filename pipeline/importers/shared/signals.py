"""What a product log may know beside a vote: exposure, comparisons, copies, edits, and tries at another answer."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from ...reading.records import Record, RowError, Source, bounded_label
from ...reading.remarks import UNREADABLE, remark
from ...storage.digests import digest_json
from ...tables import COMPARISON_KIND
from ..base import RawEvent
from . import values
from .messages import Answer, answer
from .votes import compared

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "comparison_id": ("comparison_id",),
    "comparison_kind": ("comparison_kind",),
    "propensity": ("propensity",),
    # `position` alone often means a place on a page.
    "position": ("answer_position",),
    "copied": ("copied",),
    "regenerated": ("regenerated",),
    "edited": ("edited_completion", "edited_response", "edited_answer"),
    "regenerated_from": ("regenerated_from",),
}
COMPARED: Final[Mapping[str, tuple[str, ...]]] = {
    "chosen": ("chosen", "preferred"),
    "rejected": ("rejected",),
    "tied": ("tied", "tie"),
    "both_bad": ("both_bad", "both bad", "bothbad"),
}
DONE: Final[Mapping[str, str]] = {"copied": "copied", "copy": "copied", "regenerated": "regenerated"}
_NUMBER: Final = re.compile(r"\d{1,20}(\.\d{1,40})?([eE][+-]?\d{1,3})?")
_LARGEST: Final = 1e300
_FLAGS: Final = {"true": True, "false": False}
# What a user wrote came from no model and was offered to nobody.
_NOT_SHOWN: Final[Mapping[str, Any]] = {"model": None, "propensity": None, "position": None}
_KINDS: Final = tuple(COMPARISON_KIND.categories)


class Earlier(NamedTuple):
    """Answers that were asked for again.

    Attributes:
        events: Id to the answer; why it has none where its row cannot be read.
        ids: Every id that another row says it was regenerated from.
        flagged: Whether the log has a column `regenerated` of its own.
    """

    events: Mapping[str, RawEvent | RowError]
    ids: frozenset[str]
    flagged: bool


def number(row: Mapping[str, Any], field: str | None) -> float | None:
    """A number, or a text of one as CSV has; None where the log has none.

    Raises:
        RowError: It is anything else, or too large to be one.
    """
    value = None if field is None else row.get(field)
    if value is None:
        return None
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    # An integer beyond any float would not even compare.
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and -_LARGEST < value < _LARGEST
    if not is_number:
        raise RowError("wrong_type", f"field '{field}' is {bounded_label(value)}, not a number")
    return float(value)


def _optional(
    row: Mapping[str, Any], field: str | None, holds: Callable[[float], bool], otherwise: str
) -> float | None:
    """A number for which a condition holds; None, with a remark, where there is another value."""
    try:
        value = number(row, field)
    except RowError:
        remark(UNREADABLE, f"{field}: no number")
        return None
    if value is None or holds(value):
        return value
    remark(UNREADABLE, f"{field}: {otherwise}")
    return None


def exposed(event: RawEvent, row: Mapping[str, Any], mapping: Mapping[str, str]) -> RawEvent:
    """The event with the chance that its answer was shown, and its place.

    What is no chance in (0, 1] or no place such as 1 or 2 is left out, with a remark: it costs no vote.
    """
    propensity = _optional(row, mapping.get("propensity"), lambda chance: 0.0 < chance <= 1.0, "not in (0, 1]")
    position = _optional(
        row, mapping.get("position"), lambda place: 1.0 <= place <= 1e6 and place.is_integer(), "not 1, 2, ..."
    )
    return event._replace(propensity=propensity, position=None if position is None else int(position))


def compared_as(event: RawEvent, row: Mapping[str, Any], mapping: Mapping[str, str]) -> RawEvent:
    """An event of a comparison's vote as a side of the comparison that its row names.

    Raises:
        RowError: The row names no comparison, or a kind that is not known.
    """
    named = values.link(row, mapping.get("comparison_id"))
    if named is None:
        raise RowError("missing_field", f"vote '{event.vote}' is of a comparison, and the row has no comparison_id")
    kind = row.get(mapping["comparison_kind"]) if "comparison_kind" in mapping else None
    if kind is not None and kind not in _KINDS:
        raise RowError("unknown_label", f"comparison_kind is {bounded_label(kind)}, not one of {', '.join(_KINDS)}")
    return event._replace(comparison_id=digest_json(["comparison", named]), comparison_kind=kind or "preference")


def done(event: RawEvent, row: Mapping[str, Any], mapping: Mapping[str, str]) -> Iterator[RawEvent | RowError]:
    """What the user did with the answer, beside its vote: copied it, asked for another, wrote a better one."""
    for signal in ("copied", "regenerated"):
        try:
            if _flag(row, mapping.get(signal)):
                yield _beside(event, signal)
        except RowError as error:
            yield error
    field = mapping.get("edited")
    if field is None or row.get(field) is None:
        return
    try:
        better = answer(row[field], field)
        if better != Answer(event.completion, event.completion_extra):
            original = _beside(event, "edit")
            yield from compared(original._replace(**better._asdict(), **_NOT_SHOWN), original, "first", "edit")
    except RowError as error:
        yield error


def _flag(row: Mapping[str, Any], field: str | None) -> bool:
    """A boolean, or the word for one as CSV has; False where the log has none."""
    value = None if field is None else row.get(field)
    flag = _FLAGS.get(value.strip().lower()) if isinstance(value, str) else value
    if value is None or isinstance(flag, bool):
        return bool(flag)
    raise RowError("wrong_type", f"field '{field}' is {bounded_label(value)}, not true or false")


def _beside(event: RawEvent, what: str) -> RawEvent:
    """An event of the same answer with an id and a vote of its own."""
    named = None if event.source_event_id is None else f"{event.source_event_id}/{what}"
    vote = what if what in DONE.values() else "unrated"
    return event._replace(source_event_id=named, vote=vote, comparison_id=None, comparison_kind=None)


def find_earlier(
    source: Source, seen: list[str], mapping: Mapping[str, str], event_of: Callable[[Record], RawEvent]
) -> Earlier:
    """The answers of a source that other rows say they were regenerated from.

    Args:
        source: It is read twice for them where its first rows have the column, else not at all.
        seen: Columns of its first rows.
        mapping: Field of an event to column of the log.
        event_of: A record's event.
    """
    field = mapping["regenerated_from"]
    events: dict[str, RawEvent | RowError] = {}
    if field not in seen:
        return Earlier(events, frozenset(), flagged=False)
    ids = frozenset(str(row.value[field]) for row in _records(source) if row.value.get(field) is not None)
    for record in _records(source):
        named = str(record.value.get(mapping["event_id"]))
        if named in ids:
            try:
                events[named] = event_of(record)
            except RowError as error:
                events[named] = error
    return Earlier(events, ids, mapping["regenerated"] in seen)


def _records(source: Source) -> Iterator[Record]:
    return (row for row in source.rows() if isinstance(row, Record))


def regenerated(
    event: RawEvent, row: Mapping[str, Any], mapping: Mapping[str, str], earlier: Earlier
) -> Iterator[RawEvent | RowError]:
    """What it says of an earlier answer that this one was asked for instead.

    The later answer is chosen over the earlier one, unless its user voted it down or asked for yet another: then it
    satisfied no more. Where the log has no column `regenerated`, the earlier answer's event of that name is made here.
    """
    try:
        named = values.link(row, mapping["regenerated_from"])
        if named is None:
            return
        before = earlier.events.get(named)
        if before is None or isinstance(before, RowError):
            why = "no readable row, or the column begins after the first 200 rows"
            raise RowError("missing_answer", f"the answer that this one was regenerated from has {why}")
        if not earlier.flagged:
            yield _beside(before, "regenerated")
        if event.vote != "down" and event.source_event_id not in earlier.ids:
            name = f"{event.source_event_id}/regenerate"
            sides = (event._replace(source_event_id=name), before._replace(source_event_id=name))
            yield from compared(*sides, "first", "regenerate")
    except RowError as error:
        yield error

"""Votes of closed formats: a label that the format knows, and two answers that were compared."""

from collections.abc import Mapping
from typing import Any, Final

from ...reading.records import RowError, bounded_label
from ...storage.digests import digest_json
from ..base import RawEvent

_SIDES: Final[Mapping[str, tuple[str, str]]] = {
    "first": ("chosen", "rejected"),
    "second": ("rejected", "chosen"),
    "tied": ("tied", "tied"),
    "both_bad": ("both_bad", "both_bad"),
}


def known_label(value: object, table: Mapping[Any, str], field: str) -> str:
    """What a label stands for; null is not asked here.

    A text is never read as a number nor a boolean as one; a whole number that a table holds as a fraction (`1.0`) is
    that number.

    Args:
        value: The label as it was logged.
        table: Label to its meaning.
        field: The label's place, for the error.

    Raises:
        RowError: `table` does not hold it.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    for label, meaning in table.items():
        if type(label) is type(value) and label == value:
            return meaning
    labels = ", ".join(map(repr, table))
    raise RowError("unknown_label", f"field '{field}' is {bounded_label(value)}, not one of {labels}"[:400])


def compared(first: RawEvent, second: RawEvent, outcome: str, kind: str) -> list[RawEvent]:
    """The two events of one comparison.

    Args:
        first: One answer, with the comparison's own id in `source_event_id` where the log has one.
        second: The other answer to the same prompt.
        outcome: `first`, `second`, `tied` or `both_bad`.
        kind: A member of `tables.COMPARISON_KIND`.

    Raises:
        RowError: The answers are of different prompts, or are one text.
    """
    if first.prompt != second.prompt:
        raise RowError("different_prompts", "the two answers follow different messages")
    if first.completion == second.completion:
        raise RowError("same_answer", "the two answers are the same text")
    named_by = [first.source_event_id, first.conversation_id, str(first.created_at)]
    texts = [first.prompt, first.completion, second.completion]
    comparison_id = digest_json([kind, outcome, *named_by, *texts])
    return [
        event._replace(
            source_event_id=None if event.source_event_id is None else f"{event.source_event_id}/{side}",
            vote=vote,
            comparison_id=comparison_id,
            comparison_kind=kind,
        )
        for side, event, vote in zip((1, 2), (first, second), _SIDES[outcome], strict=True)
    ]

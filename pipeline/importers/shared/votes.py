"""Votes of closed formats: a label that the format knows, and two answers that were compared."""

from collections.abc import Mapping
from typing import Any, Final

from ...reading.records import RowError
from ...storage.digests import digest_json
from ..base import RawEvent
from .labels import Labels, LabelTable, label_key, refusal
from .messages import Answer, in_words
from .seen import noted

_SIDES: Final[Mapping[str, tuple[str, str]]] = {
    "first": ("chosen", "rejected"),
    "second": ("rejected", "chosen"),
    "tied": ("tied", "tied"),
    "both_bad": ("both_bad", "both_bad"),
}
_NOTHING: Final = LabelTable({})
_MAX_LISTED: Final = 300


def known_label(value: object, table: Mapping[Any, str] | Labels, field: str) -> str:
    """What a label stands for; null is not asked here.

    Of a format's own labels a text is never read as a number nor a boolean as one; a whole number that a table holds
    as a fraction (`1.0`) is that number. What the user states goes before them.

    Args:
        value: The label as it was logged.
        table: Label to its meaning, or a format's labels under its options.
        field: The label's place, for the error.

    Raises:
        RowError: `table` does not hold it.
    """
    known, stated, options = table if isinstance(table, Labels) else Labels(table, _NOTHING, ())
    meaning = stated.get(label_key(value)) or _own_meaning(value, known)
    if options:
        noted(value, field, meaning)
    if meaning is None:
        raise refusal(value, field, options, f"one of {', '.join(map(repr, known))}"[:_MAX_LISTED])
    return meaning


def _own_meaning(value: object, known: Mapping[Any, str]) -> str | None:
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    return next((its for label, its in known.items() if type(label) is type(number) and label == number), None)


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
    if (first.prompt, first.tools) != (second.prompt, second.tools):
        raise RowError("different_prompts", "the two answers follow different messages")
    answers = [Answer(event.completion, event.completion_extra) for event in (first, second)]
    if answers[0] == answers[1]:
        raise RowError("same_answer", "the two answers are the same text")
    named_by = [first.source_event_id, first.conversation_id, str(first.created_at)]
    comparison_id = digest_json([kind, outcome, *named_by, first.prompt, *in_words(*answers)])
    return [
        event._replace(
            source_event_id=None if event.source_event_id is None else f"{event.source_event_id}/{side}",
            vote=vote,
            comparison_id=comparison_id,
            comparison_kind=kind,
        )
        for side, event, vote in zip((1, 2), (first, second), _SIDES[outcome], strict=True)
    ]

"""The arena's released votes of 2025 on: two conversations of content parts, a winner, and the session around them.

A session may hold several votes, each between two newly drawn models. `conversation_a` and `conversation_b` are what
was said up to the vote from where its models came in; what was said before stands in `full_conversation` alone, each
turn with the answers of both sides, and is put before the prompt of its side. The two answers compare only where both
sides had the same before them.

Source: card of lmarena-ai/arena-human-preference-140k.
"""

from typing import Final

from ..reading.records import Options, RowError, Sample
from .base import Message, RawEvent, Row
from .shared import values
from .shared.embedded import parsed
from .shared.labels import Labels, labelled_importer
from .shared.messages import answer_of, messages
from .shared.votes import compared, known_label

NAME: Final = "arena"
_WINNERS: Final = {
    "model_a": "first",
    "model_b": "second",
    "tie": "tied",
    "both_bad": "both_bad",
    "tie (bothbad)": "both_bad",
}
_SESSION: Final = frozenset({"evaluation_session_id", "evaluation_order", "full_conversation"})


def detect(sample: Sample, options: Options) -> bool:
    """Whether the sample has two conversations, a winner, and something of a session."""
    fields = set(sample.fields)
    return fields >= {"conversation_a", "conversation_b", "winner"} and not fields.isdisjoint(_SESSION)


def _events(row: Row, labels: Labels) -> list[RawEvent]:
    first, second = _side(row, "a", 1), _side(row, "b", 2)
    return compared(first, second, known_label(values.present(row, "winner"), labels, "winner"), "arena")


def _side(row: Row, side: str, position: int) -> RawEvent:
    field = f"conversation_{side}"
    told = messages(values.present(row, field), field, empty="no_text")
    if told[-1]["role"] != "assistant":
        raise RowError("not_an_answer", f"field '{field}' does not end in an answer")
    turns = sum(message["role"] == "user" for message in told)
    return RawEvent(
        source_event_id=values.identifier(row, "id"),
        conversation_id=values.identifier(row, "evaluation_session_id"),
        model=values.identifier(row, f"model_{side}"),
        prompt=[*_earlier(row, side, turns), *told[:-1]],
        **answer_of(told[-1], field)._asdict(),
        created_at=values.time(row, "timestamp"),
        position=position,
    )


def _earlier(row: Row, side: str, turns: int) -> list[Message]:
    """What a side had before it, from earlier votes of the session.

    Args:
        row: The row.
        side: `a` or `b`.
        turns: Turns of the user that the side's own conversation holds.

    Raises:
        RowError: There was something, and the row does not hold it.
    """
    whole = parsed(row.get("full_conversation"))
    order = row.get("evaluation_order")
    if not isinstance(whole, list):
        if isinstance(order, int) and order > 1:
            raise RowError(
                "earlier_turns", "an earlier vote of the session came before, and full_conversation is missing"
            )
        return []
    if not all(isinstance(turn, dict) for turn in whole):
        raise RowError("wrong_type", "field 'full_conversation' lists something else than turns")
    said = [turn.get(name) for turn in whole[: max(len(whole) - turns, 0)] for name in ("user", f"model_side_{side}")]
    return messages(said, "full_conversation", empty="no_text") if said else []


SPEC: Final = labelled_importer(
    NAME,
    "The arena's votes as released since 2025 (arena-human-preference-140k): conversations of parts, and a winner.",
    detect=detect,
    parse=_events,
    known=_WINNERS,
)

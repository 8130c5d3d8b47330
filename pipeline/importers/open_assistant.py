"""Open-Assistant's message trees: replies ranked among their siblings, and thumbs as counts of emojis.

Every two ranked replies to one message are a comparison of kind `ranking`: the better one has the smaller rank. The
emojis `+1` and `-1` hold how many people picked them: so many events up and down. Other emojis (`_skip_reply`,
`red_flag`) tell how the labelling went and are not votes. A message that was deleted is no answer and no prompt.
"""

from collections.abc import Iterator
from itertools import combinations
from typing import Any, Final

from ..reading.records import Options, Record, RowError, Sample, Source, bounded_label
from .base import Batch, ImporterSpec, Message, RawEvent, read_rows
from .shared import values
from .shared.threads import listed, nested
from .shared.votes import compared, known_label

NAME: Final = "open_assistant"
_ROLES: Final = {"prompter": "user", "assistant": "assistant"}
_EMOJIS: Final = {"+1": "up", "-1": "down"}
# A count beyond is no count of people who read one reply.
_MAX_COUNT: Final = 100_000


def detect(sample: Sample, options: Options) -> bool:
    """Whether the rows are trees, or messages with their replies."""
    fields = set(sample.fields)
    return fields >= {"message_tree_id", "prompt"} or fields >= {"message_id", "text", "role", "replies"}


def read(source: Source, options: Options) -> Iterator[Batch]:
    """Batches of the trees' replies: their thumbs, and their comparisons."""
    return read_rows(source, _events)


def _events(record: Record) -> Iterator[RawEvent | RowError]:
    row = record.value
    root = nested(row, "prompt") if "message_tree_id" in row else row
    tree_id = values.identifier(root, "message_id")
    waiting: list[tuple[dict[str, Any], list[Message]]] = [(root, [])]
    while waiting:
        message, before = waiting.pop()
        try:
            own = _message(message)
            replies = listed(message, "replies") if message.get("replies") else []
        except RowError as error:
            # Whatever follows a message that cannot be read has no prompt.
            yield error
            continue
        if own["role"] == "assistant":
            yield from _thumbs(record, tree_id, message, before)
        elif own["role"] == "user":
            yield from _ranking(record, tree_id, replies, [*before, own])
        waiting.extend((reply, [*before, own]) for reply in reversed(replies))


def _message(message: dict[str, Any]) -> Message:
    role = known_label(message.get("role"), _ROLES, "role")
    if message.get("deleted") is True:
        raise RowError("deleted_message", "a moderator took the message back")
    return {"role": role, "content": values.text(message, "text", empty="empty_completion")}


def _event(record: Record, tree_id: str | None, reply: dict[str, Any], prompt: list[Message]) -> RawEvent:
    return RawEvent(
        source_event_id=values.text(reply, "message_id", empty="missing_field"),
        conversation_id=tree_id,
        model=values.identifier(reply, "model_name"),
        prompt=prompt,
        completion=values.text(reply, "text", empty="empty_completion"),
        created_at=values.time(reply, "created_date"),
    )


def _thumbs(
    record: Record, tree_id: str | None, reply: dict[str, Any], prompt: list[Message]
) -> Iterator[RawEvent | RowError]:
    """As many events as there were thumbs; one that is unrated where there were none."""
    try:
        event = _event(record, tree_id, reply, prompt)
        counts = {emoji: _count(nested(reply, "emojis"), emoji) for emoji in _EMOJIS}
    except RowError as error:
        yield error
        return
    if not any(counts.values()):
        yield event
    for emoji, count in counts.items():
        for number in range(1, count + 1):
            name = f"{event.source_event_id}/{emoji}/{number}"
            yield event._replace(source_event_id=name, vote=_EMOJIS[emoji])


def _count(emojis: dict[str, Any], emoji: str) -> int:
    count = emojis.get(emoji)
    if count is None:
        return 0
    if type(count) is not int or not 0 <= count <= _MAX_COUNT:
        raise RowError("unknown_label", f"emoji '{emoji}' is {bounded_label(count)}, not a count")
    return count


def _ranking(
    record: Record, tree_id: str | None, replies: list[dict[str, Any]], prompt: list[Message]
) -> Iterator[RawEvent | RowError]:
    """Every two ranked replies to one message compared; replies of one rank are tied."""
    kept = [reply for reply in replies if reply.get("role") == "assistant" and reply.get("deleted") is not True]
    ranked = [reply for reply in kept if reply.get("rank") is not None]
    for first, second in combinations(ranked, 2):
        try:
            outcome = _outcome(first["rank"], second["rank"])
            sides = [_event(record, tree_id, reply, prompt) for reply in (first, second)]
            name = f"{sides[0].source_event_id}/{sides[1].source_event_id}"
            both = [side._replace(source_event_id=name) for side in sides]
            yield from compared(both[0], both[1], outcome, "ranking")
        except RowError as error:
            yield error


def _outcome(first: Any, second: Any) -> str:
    for rank in (first, second):
        if type(rank) is not int:
            raise RowError("unknown_label", f"field 'rank' is {bounded_label(rank)}, not a whole number")
    if first == second:
        return "tied"
    return "first" if first < second else "second"


SPEC: Final = ImporterSpec(
    name=NAME,
    description="Open-Assistant trees: ranked replies compared two by two, counts of +1 and -1 as thumbs.",
    detect=detect,
    read=read,
)

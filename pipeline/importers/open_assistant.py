"""Open-Assistant's message trees: replies ranked among their siblings, and thumbs as counts of emojis.

Every two ranked replies to one message are a comparison of kind `ranking`: the better one has the smaller rank. The
emojis `+1` and `-1` hold how many people picked them: so many events up and down. Other emojis (`_skip_reply`,
`red_flag`) tell how the labelling went and are not votes. A message that was deleted is no answer and no prompt.
"""

from itertools import combinations
from typing import Any, Final

from ..reading.records import RowError, bounded_label
from .base import Events, Message, RawEvent, Row, each, has_columns
from .shared import values
from .shared.labels import Labels, label_key, labelled_importer
from .shared.threads import listed, nested
from .shared.votes import compared, known_label

_ROLES: Final = {"prompter": "user", "assistant": "assistant"}
_EMOJIS: Final = {"+1": "up", "-1": "down"}
# A count beyond is no count of people who read one reply.
_MAX_COUNT: Final = 100_000


def _events(row: Row, labels: Labels) -> Events:
    found = False
    for event in _tree(row, labels):
        found = True
        yield event
    if not found:
        raise RowError("no_completion", "no answer in the tree")


def _tree(row: Row, labels: Labels) -> Events:
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
            yield from _thumbs(tree_id, message, before, labels)
        elif own["role"] == "user":
            yield from _ranking(tree_id, replies, [*before, own])
        waiting.extend((reply, [*before, own]) for reply in reversed(replies))


def _message(message: dict[str, Any]) -> Message:
    role = known_label(message.get("role"), _ROLES, "role")
    if message.get("deleted") is True:
        raise RowError("deleted_message", "a moderator took the message back")
    return {"role": role, "content": values.text(message, "text", empty="empty_completion")}


def _event(tree_id: str | None, reply: dict[str, Any], prompt: list[Message]) -> RawEvent:
    return RawEvent(
        source_event_id=values.text(reply, "message_id", empty="missing_field"),
        conversation_id=tree_id,
        model=values.identifier(reply, "model_name"),
        prompt=prompt,
        completion=values.text(reply, "text", empty="empty_completion"),
        created_at=values.time(reply, "created_date"),
    )


def _thumbs(tree_id: str | None, reply: dict[str, Any], prompt: list[Message], labels: Labels) -> Events:
    """As many events as there were thumbs; one that is unrated where there were none."""
    try:
        event = _event(tree_id, reply, prompt)
        votes = _votes(nested(reply, "emojis"), labels)
        counts = {emoji: _count(nested(reply, "emojis"), emoji) for emoji in votes}
    except RowError as error:
        yield error
        return
    if not any(counts.values()):
        yield event
    for emoji, count in counts.items():
        for number in range(1, count + 1):
            name = f"{event.source_event_id}/{emoji}/{number}"
            yield event._replace(source_event_id=name, vote=votes[emoji])


def _votes(emojis: dict[str, Any], labels: Labels) -> dict[str, str]:
    """Those emojis of a reply that are votes, and which."""
    table = labels.stated.over(labels.known)
    return {emoji: vote for emoji in emojis if (vote := table.get(label_key(emoji))) is not None}


def _count(emojis: dict[str, Any], emoji: str) -> int:
    count = emojis.get(emoji)
    if count is None:
        return 0
    if type(count) is not int or not 0 <= count <= _MAX_COUNT:
        raise RowError("unknown_label", f"emoji '{emoji}' is {bounded_label(count)}, not a count")
    return count


def _ranking(tree_id: str | None, replies: list[dict[str, Any]], prompt: list[Message]) -> Events:
    """Every two ranked replies to one message compared; replies of one rank are tied."""
    kept = [reply for reply in replies if reply.get("role") == "assistant" and reply.get("deleted") is not True]
    ranked = [reply for reply in kept if reply.get("rank") is not None]

    def comparison(replies: tuple[dict[str, Any], dict[str, Any]]) -> list[RawEvent]:
        outcome = _outcome(*(reply["rank"] for reply in replies))
        first, second = (_event(tree_id, reply, prompt) for reply in replies)
        name = f"{first.source_event_id}/{second.source_event_id}"
        return compared(first._replace(source_event_id=name), second._replace(source_event_id=name), outcome, "ranking")

    return each(combinations(ranked, 2), comparison)


def _outcome(first: Any, second: Any) -> str:
    for rank in (first, second):
        if type(rank) is not int:
            raise RowError("unknown_label", f"field 'rank' is {bounded_label(rank)}, not a whole number")
    if first == second:
        return "tied"
    return "first" if first < second else "second"


SPEC: Final = labelled_importer(
    "open_assistant",
    "Open-Assistant trees: ranked replies compared two by two, counts of +1 and -1 as thumbs.",
    detect=has_columns({"message_tree_id", "prompt"}, {"message_id", "text", "role", "replies"}),
    parse=_events,
    known=_EMOJIS,
)

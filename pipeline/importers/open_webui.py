"""Open WebUI's feedback export: one rating an entry, with the whole chat beside it as a snapshot.

The rated answer is found in the snapshot by its message id; the messages that lead to it are its prompt. As on the
tool's leaderboard, a rating also compares the answer with its siblings, the answers of other models (or other tries)
to the same message: rated 1 it is chosen over each, rated -1 each is chosen over it.
"""

from typing import Any, Final, NamedTuple

from ..reading.records import RowError
from .base import Events, RawEvent, Row, each, has_columns
from .shared import values
from .shared.labels import Labels, labelled_importer
from .shared.threads import Turn, Turns, answer_of, nested, plain_text, read_turns, turn_of
from .shared.votes import compared, known_label

# Both spellings were written by the tool itself, in turn.
_RATINGS: Final = {1: "up", -1: "down", "1": "up", "-1": "down"}
_ROLES: Final = {role: role for role in sorted(values.ROLES)}


class _Chat(NamedTuple):
    messages: dict[str, dict[str, Any]]
    turns: Turns


def _events(row: Row, labels: Labels) -> Events:
    kind = row.get("type")
    known_label(kind, {"rating": "rating"}, "type")
    data, chat = nested(row, "data"), _chat(row)
    message_id = values.text(nested(row, "meta"), "message_id", empty="missing_field")
    rated = _event(row, chat, message_id)
    rating = data.get("rating")
    vote = "unrated" if rating is None else known_label(rating, labels, "data.rating")
    yield rated._replace(vote=vote)
    if vote in ("up", "down"):
        yield from _against_siblings(row, chat, message_id, rated, "first" if vote == "up" else "second")


def _against_siblings(row: Row, chat: _Chat, message_id: str, rated: RawEvent, outcome: str) -> Events:
    siblings = nested(row, "data").get("sibling_model_ids") or []
    if not isinstance(siblings, list) or not all(isinstance(model, str) for model in siblings):
        yield RowError("wrong_type", "field 'data.sibling_model_ids' is not a list of model ids")
        return
    answers = _siblings(chat, message_id)

    def comparison(model: str) -> list[RawEvent]:
        other_id = next((other for other in answers if answers[other] == model), None)
        if other_id is None:
            raise RowError("missing_answer", "the snapshot does not hold the answer of a sibling model")
        del answers[other_id]
        other = _event(row, chat, other_id)
        name = f"{values.identifier(row, 'id')}/{other_id}"
        kind = "arena" if other.model != rated.model else "regenerate"
        return compared(rated._replace(source_event_id=name), other._replace(source_event_id=name), outcome, kind)

    yield from each(siblings, comparison)


def _siblings(chat: _Chat, message_id: str) -> dict[str, str | None]:
    """The other answers to the message that one answer follows, and their models."""
    parent = turn_of(chat.turns, message_id).parent
    return {
        other: _model(message)
        for other, message in chat.messages.items()
        if parent is not None and other != message_id and message.get("parentId") == parent
    }


def _chat(row: dict[str, Any]) -> _Chat:
    """The snapshot's messages by id.

    Raises:
        RowError: There is none.
    """
    outer = nested(nested(row, "snapshot"), "chat")
    inner = outer if "history" in outer or "messages" in outer else nested(outer, "chat")
    messages = nested(nested(inner, "history"), "messages")
    if not messages and isinstance(inner.get("messages"), list):
        messages = {str(message.get("id")): message for message in inner["messages"] if isinstance(message, dict)}
    messages = {message_id: message for message_id, message in messages.items() if isinstance(message, dict)}
    if not messages:
        raise RowError("no_text", "field 'snapshot.chat' holds no messages")
    return _Chat(messages, read_turns(messages, _turn))


def _turn(message: dict[str, Any]) -> Turn:
    role = known_label(message.get("role"), _ROLES, "role")
    return Turn(values.identifier(message, "parentId"), role, plain_text(message.get("content"), "content"))


def _event(row: Row, chat: _Chat, message_id: str) -> RawEvent:
    if message_id not in chat.messages:
        raise RowError("missing_answer", "the snapshot does not hold the rated message")
    prompt, completion = answer_of(chat.turns, message_id)
    return RawEvent(
        source_event_id=values.identifier(row, "id"),
        conversation_id=values.identifier(nested(row, "meta"), "chat_id"),
        user_id=values.identifier(row, "user_id"),
        model=_model(chat.messages[message_id]),
        prompt=prompt,
        completion=completion,
        created_at=values.time(row, "updated_at") or values.time(row, "created_at"),
    )


def _model(message: dict[str, Any]) -> str | None:
    """Which model answered: in an arena, the one that was drawn and not the arena's own name."""
    return values.identifier(message, "selectedModelId") or values.identifier(message, "model")


SPEC: Final = labelled_importer(
    "open_webui",
    "Open WebUI feedback export: ratings 1 and -1, the chat in a snapshot, sibling models compared.",
    detect=has_columns({"type", "data", "meta", "snapshot"}),
    parse=_events,
    known=_RATINGS,
)

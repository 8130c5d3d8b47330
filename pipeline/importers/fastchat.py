"""FastChat's server log, and the battles that are released from it.

A row of the log is an answer (`chat`), a thumb (`upvote`, `downvote`) or an arena vote, and holds its conversation as
the server's state. The state's system message and examples belong to a model's template, not to the conversation, and
are left out. A released battle holds two conversations and a `winner`. Two conversations compare two answers only
where all that stands before the last answers is equal: later turns of a battle follow each model's own answers.
"""

from typing import Any, Final

from ..reading.records import RowError, bounded_label
from .base import Message, RawEvent, Row, has_columns
from .shared import values
from .shared.labels import Labels, labelled_importer
from .shared.messages import answer_of, content_text, messages
from .shared.threads import listed, nested
from .shared.votes import compared, known_label

_THUMBS: Final = {"chat": "unrated", "upvote": "up", "downvote": "down"}
_ARENA: Final = {"leftvote": "first", "rightvote": "second", "tievote": "tied", "bothbad_vote": "both_bad"}
_WINNERS: Final = {
    "model_a": "first",
    "model_b": "second",
    "tie": "tied",
    "tie (bothbad)": "both_bad",
    "both_bad": "both_bad",
}
_NO_VOTES: Final = ("flag", "share")


def _events(row: Row, labels: Labels) -> list[RawEvent]:
    if "conversation_a" in row:
        return _battle(row, labels)
    kind = row.get("type")
    if kind in _NO_VOTES:
        raise RowError("not_a_vote", f"field 'type' is {bounded_label(kind)}")
    meaning = known_label(kind, labels._replace(known=_THUMBS | _ARENA), "type")
    if meaning in _THUMBS.values() or meaning == "retracted":
        state = nested(row, "state")
        name = f"{values.identifier(state, 'conv_id')}/{row.get('tstamp')}/{kind}"
        return [_event(row, state, values.identifier(row, "model"), name)._replace(vote=meaning)]
    states = _two(row, "states")
    models = row.get("models") or [None, None]
    if not isinstance(models, list) or len(models) != 2:
        raise RowError("wrong_type", "field 'models' is not a list of two names")
    name = f"{'/'.join(str(state.get('conv_id')) for state in states)}/{row.get('tstamp')}/{kind}"
    first, second = (
        _event(row, state, values.identifier({"models": model}, "models"), name)
        for state, model in zip(states, models, strict=True)
    )
    return compared(first._replace(position=1), second._replace(position=2), meaning, "arena")


def _two(row: dict[str, Any], field: str) -> list[dict[str, Any]]:
    states = listed(row, field)
    if len(states) != 2:
        raise RowError("wrong_type", f"field '{field}' has {len(states)} entries, not two")
    return states


def _event(row: Row, state: dict[str, Any], model: str | None, name: str) -> RawEvent:
    messages = _messages(state)
    if not messages or messages[-1]["role"] != "assistant":
        raise RowError("not_an_answer", "the conversation does not end in an answer")
    return RawEvent(
        source_event_id=name,
        conversation_id=values.identifier(state, "conv_id"),
        user_id=values.identifier(row, "ip"),
        # Before an anonymous vote the log's own field is blank: the state knows who answered.
        model=values.identifier(state, "model_name") or model,
        prompt=messages[:-1],
        completion=values.text(messages[-1], "content", empty="empty_completion"),
        created_at=values.time(row, "tstamp"),
    )


def _messages(state: dict[str, Any]) -> list[Message]:
    """The state's messages after the template's examples.

    Raises:
        RowError: Messages or roles are not there or not of the server's form.
    """
    roles, entries, offset = state.get("roles"), state.get("messages"), state.get("offset") or 0
    if not isinstance(roles, list | tuple) or len(roles) != 2 or not all(isinstance(role, str) for role in roles):
        raise RowError("wrong_type", "field 'roles' of the state is not two names")
    if not isinstance(entries, list) or type(offset) is not int:
        raise RowError("wrong_type", "field 'messages' of the state is not a list")
    return [_message(entry, {roles[0]: "user", roles[1]: "assistant"}) for entry in entries[offset:]]


def _message(entry: Any, roles: dict[str, str]) -> Message:
    if not isinstance(entry, list) or len(entry) != 2:
        raise RowError("wrong_type", "field 'messages' of the state lists something else than role and text")
    # An answer that never came is null.
    content = "" if entry[1] is None else content_text(entry[1], "messages")
    return {"role": known_label(entry[0], roles, "messages"), "content": content}


def _battle(row: Row, labels: Labels) -> list[RawEvent]:
    first, second = _battle_side(row, "a", 1), _battle_side(row, "b", 2)
    outcome = known_label(row.get("winner"), labels._replace(known=_WINNERS), "winner")
    return compared(first, second, outcome, "arena")


def _battle_side(row: Row, side: str, position: int) -> RawEvent:
    said = messages(values.present(row, f"conversation_{side}"), "conversation", empty="no_text")
    return RawEvent(
        source_event_id=values.identifier(row, "question_id"),
        conversation_id=values.identifier(row, "question_id"),
        user_id=values.identifier(row, "judge"),
        model=values.identifier(row, f"model_{side}"),
        prompt=said[:-1],
        **answer_of(said[-1], f"conversation_{side}")._asdict(),
        created_at=values.time(row, "tstamp"),
        position=position,
    )


SPEC: Final = labelled_importer(
    "fastchat",
    "FastChat's server log (upvote, downvote, arena votes), and battles released from it.",
    detect=has_columns(
        {"conversation_a", "conversation_b", "winner"}, {"tstamp", "type", "state"}, {"tstamp", "type", "states"}
    ),
    parse=_events,
    known=_THUMBS | _ARENA | _WINNERS,
)

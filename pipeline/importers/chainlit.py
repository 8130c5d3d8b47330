"""Chainlit: feedback of value 1 or 0 on steps, embedded in threads or as rows of its data layers' tables.

What was said before a message is what its thread's messages of earlier time said. Feedback names the message, or the
run that the message is part of; a run that answered with several messages is nobody's guess. Chainlit keeps no time of
a vote. Whose thread it is, is whose vote it is.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from ..reading.records import RowError
from .base import ImporterSpec, Message
from .shared import feedback, joins, values
from .shared.embedded import parsed
from .shared.joins import Row, Vote, micros, text_or_problem
from .shared.texts import Mark, Text, TextIndex

NAME: Final = "chainlit"
_LABELS: Final = {"1": "up", "0": "down", "1.0": "up", "0.0": "down"}
_ROLES: Final = {"user_message": "user", "assistant_message": "assistant"}
_TIMES: Final = ("createdAt", "start", "startTime")
# A step whose time cannot be read could stand anywhere: it stands before all others, and says so to each of them.
_NO_POSITION: Final = -1


def _is_thread(row: Row) -> bool:
    return row.keys() >= {"id", "createdAt"} and bool({"userIdentifier", "steps"} & row.keys())


def _is_step(row: Row) -> bool:
    return row.keys() >= {"id", "threadId", "type", "output"}


def _is_feedback(row: Row) -> bool:
    return "value" in row and ("forId" in row or row.keys() >= {"stepId", "comment"})


def detect(rows: list[dict[str, Any]]) -> bool:
    """Whether a row is a thread, a step or feedback on one."""
    return any(_is_thread(row) or _is_step(row) or _is_feedback(row) for row in rows)


class _Reader(NamedTuple):
    settings: feedback.Settings

    def texts(self, row: Row) -> Iterator[Text | Mark]:
        if _is_step(row):
            yield from _step(row)
        elif _is_thread(row):
            user = row.get("userIdentifier") or row.get("userId")
            if isinstance(user, str):
                yield Mark(f"user:{row.get('id')}", user)
            for step in _steps(row):
                yield from _step(step)

    def votes(self, row: Row, index: TextIndex) -> Iterator[Vote | RowError]:
        if _is_feedback(row):
            yield self._vote(row, row, index)
        for step in [row] if _is_step(row) else _steps(row):
            stated = parsed(step.get("feedback"))
            if isinstance(stated, dict):
                try:
                    yield self._vote({"forId": step.get("id"), **stated}, step, index)
                except RowError as error:
                    yield error

    def _vote(self, row: Row, step: Row, index: TextIndex) -> Vote:
        named = values.identifier(row, "forId") or values.identifier(row, "stepId")
        if named is None:
            raise RowError("missing_field", "field 'forId' is null")
        about = _message_of(named, index)
        text = index.text(about)
        thread = values.identifier(step, "threadId") or (None if text is None else text.conversation)
        return Vote(
            about=(about,),
            vote=self.settings.vote(row, "value"),
            source_event_id=values.identifier(row, "id"),
            user_id=index.mark(f"user:{thread}"),
            conversation_id=thread,
        )


def _steps(row: Row) -> list[dict[str, Any]]:
    """The steps embedded in a thread, each with the thread's id."""
    steps = row.get("steps")
    if not isinstance(steps, list):
        return []
    return [{"threadId": row.get("id"), **step} for step in steps if isinstance(step, dict)]


def _step(row: Row) -> Iterator[Text | Mark]:
    """A message as a text, and a mark of it as part of its run; steps that are no messages say nothing."""
    key, kind = f"{row.get('id')}", row.get("type")
    if not isinstance(kind, str) or kind not in _ROLES:
        return
    position = next((at for at in (micros(row, field) for field in _TIMES) if at is not None), _NO_POSITION)
    thread = row.get("threadId")
    text = text_or_problem(key, lambda: Text(key, _messages(row, _ROLES[kind], position)))
    yield text._replace(conversation=thread if isinstance(thread, str) else None, position=position)
    if kind == "assistant_message" and isinstance(row.get("parentId"), str):
        # The same message first and last: it is the only one of its run.
        yield Mark(f"first:{row['parentId']}", key, -position)
        yield Mark(f"last:{row['parentId']}", key, position)


def _messages(row: Row, role: str, position: int) -> list[Message]:
    if position == _NO_POSITION:
        raise RowError("bad_time", "a message of the thread has no time, so that its place is unknown")
    said = row.get("output") if row.get("output") is not None else row.get("input")
    if not isinstance(said, str):
        raise RowError("wrong_type", f"a message of the thread is a {type(said).__name__}, not a text")
    if role == "user" and not said.strip():
        raise RowError("no_text", "a user's message of the thread is blank")
    return [{"role": role, "content": said}]


def _message_of(named: str, index: TextIndex) -> str:
    """The message that feedback names, itself or by its run.

    Raises:
        RowError: The run answered with several messages.
    """
    first, last = index.mark(f"first:{named}"), index.mark(f"last:{named}")
    if index.text(named) is not None or last is None:
        return named
    if first != last:
        raise RowError("several_answers", "the run that the feedback names answered with several messages")
    return last


SPEC: Final[ImporterSpec] = joins.joined_spec(
    NAME,
    "Chainlit: threads, steps and feedbacks of its data layers, embedded or as rows (JSON, JSONL, CSV).",
    detect,
    lambda options: _Reader(feedback.settings(options, labels=_LABELS, names=None)),
    dict(feedback.LABEL_OPTIONS),
)

"""Open WebUI: its feedback export, its chats with the ratings in them, or both.

A feedback is one rating with the whole chat beside it as a snapshot, or without: then the chat is looked up among the
exported chats by its id. An exported chat holds the same ratings as annotations of its answers; where a feedback on the
answer is an input too, the two are one vote, and where they differ the feedback counts. The time of an annotation is
not in a chat: that of its answer stands for it. An answer without a rating is unrated.

As on the tool's leaderboard, a rating also compares the answer with its siblings, the answers of other models (or
other tries) to the same message: rated 1 it is chosen over each, rated -1 each is chosen over it. In an exported chat
siblings that have a rating of their own are left to the votes.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, NamedTuple

from ..reading.records import Options, Record, RowError, Source
from ..storage.digests import digest_json
from .base import Batch, Events, ImporterSpec, RawEvent, Row, each, read_rows
from .open_webui_chats import Chat, Told, against, answered, chat_of, event_of, is_chat, siblings
from .shared import values
from .shared.embedded import parsed
from .shared.joins import micros, rows, sample_rows
from .shared.labels import Labels, label_options, labels_of
from .shared.messages import says_something
from .shared.texts import Mark, TextIndex
from .shared.threads import nested
from .shared.votes import known_label

# Both spellings were written by the tool itself, in turn.
_RATINGS: Final = {1: "up", -1: "down", "1": "up", "-1": "down"}
_FEEDBACK: Final = frozenset({"type", "data", "meta"})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BESIDE_FEEDBACK: Final = frozenset({"snapshot", "user_id", "version"})


class _Inputs(NamedTuple):
    """What reading a row takes: chats and feedbacks of all inputs by id, and what labels mean."""

    texts: TextIndex
    labels: Labels


def detect(row: Row) -> bool:
    """Whether a row is a feedback or a chat."""
    return _is_feedback(row) or is_chat(row)


def _is_feedback(row: Row) -> bool:
    return row.keys() >= _FEEDBACK and bool(_BESIDE_FEEDBACK & row.keys())


def read_together(sources: Sequence[Source], options: Options) -> Iterator[tuple[str, Batch]]:
    """Batches of the ratings of all sources, their chats looked up in all sources.

    Raises:
        ConfigError: Two stated labels collide.
    """
    inputs = _Inputs(TextIndex(), labels_of(options, _RATINGS))
    try:
        for source in sources:
            inputs.texts.put(_facts(source, inputs.labels))
        for source in sources:
            for batch in read_rows(source, lambda record: _events(record, inputs)):
                yield source.name, batch
    finally:
        inputs.texts.close()


def _facts(source: Source, labels: Labels) -> Iterator[Mark]:
    """Every chat, and which vote each feedback is; a row that cannot be read has its reason when it is read again."""
    for record in source.rows():
        for row in rows(record.value) if isinstance(record, Record) else ():
            try:
                fact = _feedback_fact(row, labels) if _is_feedback(row) else _chat_fact(row)
            except RowError:
                continue
            if fact is not None:
                yield fact


def _chat_fact(row: Row) -> Mark | None:
    named = values.identifier(row, "id") if is_chat(row) else None
    if named is None:
        return None
    return Mark(f"chat:{named}", json.dumps(parsed(row["chat"])), micros(row, "updated_at") or 0)


def _feedback_fact(row: Row, labels: Labels) -> Mark | None:
    """Which vote a feedback is, whose, of when, and on what text, as its answer's annotation will ask for."""
    vote, name = _vote(nested(row, "data").get("rating"), labels), _answer_name(row)
    if name is None:
        return None
    message_id = nested(row, "meta")["message_id"]
    snapshot = _holding(row.get("snapshot"), message_id)
    said = None if snapshot is None else digest_json(answered(snapshot, message_id))
    at = micros(row, "updated_at") or micros(row, "created_at")
    stated = [vote, values.identifier(row, "id"), values.identifier(row, "user_id"), at, said]
    return Mark(f"feedback:{name}", json.dumps(stated), at or 0)


def _answer_name(row: Row) -> str | None:
    meta = nested(row, "meta")
    chat_id, message_id = values.identifier(meta, "chat_id"), values.identifier(meta, "message_id")
    return None if chat_id is None or message_id is None else f"{chat_id}/{message_id}"


def _holding(snapshot: Any, message_id: str) -> Chat | None:
    """The chat of a snapshot, where it holds the message."""
    if not isinstance(snapshot, dict):
        return None
    found = chat_of(nested(snapshot, "chat"))
    return found if message_id in found.messages else None


def _vote(rating: Any, labels: Labels) -> str:
    return "unrated" if rating is None else known_label(rating, labels, "rating")


def _events(record: Record, inputs: _Inputs) -> Events:
    return each(rows(record.value), lambda row: _row_events(row, inputs))


def _row_events(row: Row, inputs: _Inputs) -> Events:
    return _annotations(row, inputs) if is_chat(row) and not _is_feedback(row) else _feedback(row, inputs)


def _feedback(row: Row, inputs: _Inputs) -> Events:
    """The rating of a feedback, and what it says of the answer's siblings."""
    known_label(row.get("type"), {"rating": "rating"}, "type")
    message_id = values.text(nested(row, "meta"), "message_id", empty="missing_field")
    found = _chat_of_feedback(row, message_id, inputs.texts)
    rated = event_of(found, message_id, Told.of_feedback(row))
    vote = _vote(nested(row, "data").get("rating"), inputs.labels)
    yield rated._replace(vote=vote)
    if vote in ("up", "down"):
        yield from _against_stated(row, found, message_id, rated, vote)


def _chat_of_feedback(row: Row, message_id: str, index: TextIndex) -> Chat:
    """The snapshot where it holds the rated message, else the exported chat of the feedback's id.

    Raises:
        RowError: There is neither.
    """
    snapshot = _holding(row.get("snapshot"), message_id)
    if snapshot is not None:
        return snapshot
    exported = index.mark(f"chat:{values.identifier(nested(row, 'meta'), 'chat_id')}")
    if exported is not None:
        return chat_of(json.loads(exported))
    if row.get("snapshot"):
        raise RowError("missing_answer", "the snapshot does not hold the rated message")
    raise RowError("no_text", "the feedback has no snapshot; give the export of all chats as an input too")


def _against_stated(row: Row, found: Chat, message_id: str, rated: RawEvent, vote: str) -> Events:
    """The comparisons with the siblings whose models a feedback names."""
    models = nested(row, "data").get("sibling_model_ids") or []
    if not isinstance(models, list) or not all(isinstance(model, str) for model in models):
        yield RowError("wrong_type", "field 'data.sibling_model_ids' is not a list of model ids")
        return
    others = siblings(found, message_id)

    def comparison(model: str) -> list[RawEvent]:
        other_id = next((other for other in others if others[other] == model), None)
        if other_id is None:
            raise RowError("missing_answer", "the chat does not hold the answer of a sibling model")
        del others[other_id]
        return against(found, other_id, rated, vote)

    yield from each(models, comparison)


def _annotations(row: Row, inputs: _Inputs) -> Events:
    """The answers of an exported chat with the ratings beside them."""
    found = chat_of(row)
    answers = [name for name, message in found.messages.items() if message.get("role") == "assistant"]
    if not answers:
        raise RowError("no_completion", "no answer in the chat")
    yield from each(answers, partial(_annotation, row, found, inputs))


def _annotation(row: Row, found: Chat, inputs: _Inputs, message_id: str) -> Events:
    message, chat_id = found.messages[message_id], values.identifier(row, "id")
    vote = _vote(nested(message, "annotation").get("rating"), inputs.labels)
    feedback = None if vote == "unrated" else inputs.texts.mark(f"feedback:{chat_id}/{message_id}")
    if feedback is not None:
        yield _same_vote(found, message_id, chat_id, vote, json.loads(feedback))
        return
    name = values.identifier(message, "feedbackId") or f"{chat_id}/{message_id}"
    told = Told(name, chat_id, values.identifier(row, "user_id"), values.time(message, "timestamp"))
    rated = event_of(found, message_id, told)
    yield rated._replace(vote=vote)
    if vote in ("up", "down"):
        others = [other for other in siblings(found, message_id) if _is_unrated_answer(found, other)]
        yield from each(others, lambda other: against(found, other, rated, vote))


def _same_vote(found: Chat, message_id: str, chat_id: str | None, vote: str, feedback: list[Any]) -> RawEvent:
    """The event that a feedback on the same answer gives, so that the two are one.

    Raises:
        RowError: The feedback is another vote, or was given on another text.
    """
    stated, name, user_id, at, said = feedback
    if stated != vote:
        raise RowError(
            "contradiction", f"the annotation is '{vote}', and the feedback on the answer, which counts, '{stated}'"
        )
    if said is not None and said != digest_json(answered(found, message_id)):
        raise RowError("edited", "the chat was edited after the vote; the feedback's snapshot of it counts")
    told = Told(name, chat_id, user_id, None if at is None else _EPOCH + timedelta(microseconds=at))
    return event_of(found, message_id, told)._replace(vote=vote)


def _is_unrated_answer(found: Chat, message_id: str) -> bool:
    turn = found.turns[message_id]
    rated = found.messages[message_id].get("annotation")
    blank = isinstance(turn, RowError) or turn.role != "assistant" or not says_something(turn.message())
    return not blank and not (isinstance(rated, dict) and rated.get("rating") is not None)


SPEC: Final = ImporterSpec(
    name="open_webui",
    description="Open WebUI: feedback export (ratings 1 and -1, sibling models compared), all-chats export, or both.",
    detect=lambda sample, _: any(map(detect, sample_rows(sample))),
    read=lambda source, options: (batch for _, batch in read_together([source], options)),
    options=label_options(_RATINGS),
    read_together=read_together,
    alone=True,
)

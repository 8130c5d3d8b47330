"""Dify: likes and dislikes of messages, from its feedbacks API, embedded in messages, or from its feedback export.

A message is a user's query and its answer. What was said before it is what its `parent_message_id` says, or, where a
message names no parent as older ones do, what the conversation's messages of earlier time said. The variables of
an app (`inputs`) and its own instructions are not in these exports, and so not in the prompt. A rating of null takes a
vote back.

The feedback export (CSV or JSON) holds one query and one answer a row, and cuts the answer after 500 characters. A cut
answer is refused, unless the app's messages are an input too: then query and answer are the message's, and what was
said before them is known.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from ..reading.records import RowError
from ..reading.remarks import WITHOUT_HISTORY, remark
from .base import ImporterSpec
from .shared import feedback, joins, values
from .shared.embedded import parsed
from .shared.joins import Row, Vote, micros, text_or_problem
from .shared.texts import Text, TextIndex

NAME: Final = "dify"
# How the export cuts an answer, and the rank of its texts: the app's messages go before them.
_CUT: Final = "..."
_CUT_AT: Final = 500
_EXPORTED: Final = -1
# What Dify writes as the parent of a conversation's first message.
_ROOT: Final = "00000000-0000-0000-0000-000000000000"
_ONLY_DIFY: Final = frozenset(
    {"inputs", "parent_message_id", "message_files", "retriever_resources", "agent_thoughts", "from_source", "app_id"}
)


def _is_feedback(row: Row) -> bool:
    return row.keys() >= {"message_id", "rating", "conversation_id"} and bool({"from_source", "app_id"} & row.keys())


def _is_export(row: Row) -> bool:
    named = row.keys() >= {"feedback_id", "message_id", "user_query", "ai_response"}
    return named and bool({"feedback_rating_raw", "feedback_rating"} & row.keys())


def _is_message(row: Row) -> bool:
    named = row.keys() >= {"id", "conversation_id", "query", "answer"} and bool(_ONLY_DIFY & row.keys())
    # Dify's own feedback is an object; a label there, or a vote beside it, is somebody's own log.
    own = bool({"rating", "vote"} & row.keys()) or not isinstance(parsed(row.get("feedback")), dict | None)
    return named and not own


def detect(rows: list[dict[str, Any]]) -> bool:
    """Whether a row is a message or the feedback on one."""
    return any(_is_feedback(row) or _is_message(row) or _is_export(row) for row in rows)


class _Reader(NamedTuple):
    settings: feedback.Settings

    def texts(self, row: Row) -> Iterator[Text]:
        if _is_export(row):
            key = f"{row['message_id']}"
            yield text_or_problem(key, lambda: _exported(key, row))
        elif _is_message(row):
            key, parent, conversation = f"{row.get('id')}", row.get("parent_message_id"), row["conversation_id"]
            at = micros(row, "created_at")
            text = text_or_problem(key, lambda: _text(key, row, ordered=parent is not None or at is not None))
            yield text._replace(
                parent=parent if isinstance(parent, str) and parent != _ROOT else None,
                conversation=conversation if isinstance(conversation, str) else None,
                position=None if parent is not None else at if at is not None else -1,
            )

    def votes(self, row: Row, index: TextIndex) -> Iterator[Vote | RowError]:
        if _is_export(row):
            yield self._export_vote(row, index)
        elif _is_feedback(row):
            yield self._vote(row)
        elif _is_message(row):
            for stated in _embedded(row):
                try:
                    yield self._vote({"message_id": row.get("id"), "conversation_id": row["conversation_id"], **stated})
                except RowError as error:
                    yield error

    def _vote(self, row: Row) -> Vote:
        message = values.identifier(row, "message_id")
        if message is None:
            raise RowError("missing_field", "field 'message_id' is null")
        vote = self.settings.vote(row, "rating")
        taken_back = "rating" in row and row["rating"] is None
        return Vote(
            about=(message,),
            vote="retracted" if taken_back else vote,
            source_event_id=values.identifier(row, "id"),
            user_id=values.identifier(row, "from_end_user_id") or values.identifier(row, "from_account_id"),
            conversation_id=values.identifier(row, "conversation_id"),
            created_at=values.time(row, "updated_at") or values.time(row, "created_at"),
        )

    def _export_vote(self, row: Row, index: TextIndex) -> Vote:
        message = values.text(row, "message_id", empty="missing_field")
        # The sign beside the raw rating is a thumb down for whatever is no like, a rating taken back included.
        rating = "feedback_rating_raw" if "feedback_rating_raw" in row else "feedback_rating"
        vote = self.settings.vote(row, rating)
        text = index.text(message)
        if text is not None and text.rank == _EXPORTED:
            remark(WITHOUT_HISTORY, "user_query")
        return Vote(
            about=(message,),
            vote="retracted" if row[rating] is None else vote,
            source_event_id=values.identifier(row, "feedback_id"),
            user_id=values.identifier(row, "from_end_user_id") or values.identifier(row, "from_account_name"),
            conversation_id=values.identifier(row, "conversation_id"),
            created_at=values.time(row, "feedback_date"),
        )


def _exported(key: str, row: Row) -> Text:
    """Query and answer of a row of the feedback export.

    Raises:
        RowError: One of them is missing, or the answer was cut.
    """
    answer = values.text(row, "ai_response", empty="empty_completion")
    # A spreadsheet may have written line breaks as two characters since.
    lengths = {len(answer), len(answer.replace("\r\n", "\n"))}
    if answer.endswith(_CUT) and _CUT_AT + len(_CUT) in lengths:
        raise RowError(
            "truncated",
            f"Dify's export cut the answer after {_CUT_AT} characters; give the app's messages as an input too",
        )
    query = values.text(row, "user_query", empty="empty_prompt")
    said = [{"role": "user", "content": query}, {"role": "assistant", "content": answer}]
    return Text(key, said, rank=_EXPORTED)


def _text(key: str, row: Row, *, ordered: bool) -> Text:
    if not ordered:
        raise RowError("bad_time", "a message of the conversation has neither a parent nor a time")
    return Text(
        key,
        [
            {"role": "user", "content": values.text(row, "query", empty="empty_prompt")},
            {"role": "assistant", "content": values.text(row, "answer", empty="empty_completion")},
        ],
        user_id=values.identifier(row, "from_end_user_id"),
        model=values.identifier(row, "model_id"),
    )


def _embedded(row: Row) -> list[dict[str, Any]]:
    """The feedback in a message: one object, or a list of them."""
    listed = parsed(row.get("feedbacks"))
    stated = [parsed(row.get("feedback")), *(listed if isinstance(listed, list) else [])]
    return [entry for entry in stated if isinstance(entry, dict) and "rating" in entry]


SPEC: Final[ImporterSpec] = joins.joined_spec(
    NAME,
    "Dify: feedbacks (like, dislike, null to take it back) with the app's messages, or its feedback export.",
    detect,
    lambda options: _Reader(feedback.settings(options, names=None)),
    dict(feedback.LABEL_OPTIONS),
)

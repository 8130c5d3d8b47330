"""W&B Weave: reactions joined with calls; a thumb of any skin tone is a vote, any other emoji must be stated as one.

Feedback names its call by a reference, `weave:///entity/project/call/ID`. It is a row of its own, or lies in its call's
summary. Notes, annotations and the results of scorers are no reactions.
"""

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from ..reading.records import RowError, bounded_label
from .base import ImporterSpec
from .shared import chat, feedback, joins, values
from .shared.embedded import parsed
from .shared.joins import Row, Vote, text_or_problem
from .shared.texts import Text, TextIndex

NAME: Final = "weave"
_REACTION: Final = re.compile(r"wandb\.reaction\.\d+")
_CALL: Final = re.compile(r"weave:///[^/]+/[^/]+/call/([^/]+)")
# Modifiers of a thumb's colour, and the selector that asks for its picture; neither changes what it says.
_LOOKS: Final = dict.fromkeys([*range(0x1F3FB, 0x1F400), 0xFE0F])


def _is_feedback(row: Row) -> bool:
    return row.keys() >= {"feedback_type", "payload", "weave_ref"}


def _is_call(row: Row) -> bool:
    return row.keys() >= {"id", "op_name", "inputs", "output"}


def detect(rows: list[dict[str, Any]]) -> bool:
    """Whether a row is feedback or a call."""
    return any(_is_feedback(row) or _is_call(row) for row in rows)


class _Reader(NamedTuple):
    settings: feedback.Settings

    def texts(self, row: Row) -> Iterator[Text]:
        if _is_call(row):
            key = f"{row.get('id')}"
            yield text_or_problem(key, lambda: self._text(key, row))

    def _text(self, key: str, row: Row) -> Text:
        inputs, output = parsed(row.get("inputs")), parsed(row.get("output"))
        return Text(
            key,
            self.settings.messages(inputs, output, ("inputs", "output")),
            conversation=values.identifier(row, "thread_id"),
            model=values.identifier(inputs if isinstance(inputs, dict) else {}, "model"),
            tools=chat.tools_of(inputs),
        )

    def votes(self, row: Row, index: TextIndex) -> Iterator[Vote | RowError]:
        if _is_feedback(row):
            yield self._vote(row)
        elif _is_call(row):
            for stated in _embedded(row):
                try:
                    yield self._vote(stated)
                except RowError as error:
                    yield error

    def _vote(self, row: Row) -> Vote:
        kind, payload = row.get("feedback_type"), parsed(row.get("payload"))
        if not isinstance(kind, str) or not _REACTION.fullmatch(kind):
            raise RowError("other_feedback", f"its feedback_type is {bounded_label(kind)}, not a reaction")
        emoji = payload.get("emoji") if isinstance(payload, dict) else None
        if not isinstance(emoji, str):
            raise RowError("missing_field", "the reaction's payload has no emoji")
        return Vote(
            about=(_call_id(row),),
            vote=self.settings.vote({"emoji": emoji.translate(_LOOKS)}, "emoji"),
            source_event_id=values.identifier(row, "id"),
            user_id=values.identifier(row, "wb_user_id") or values.identifier(row, "creator"),
            created_at=values.time(row, "created_at"),
        )


def _embedded(row: Row) -> list[dict[str, Any]]:
    """The feedback in a call's summary."""
    summary = chat.object_of(row.get("summary")).get("weave")
    feedback_rows = summary.get("feedback") if isinstance(summary, dict) else None
    return [entry for entry in feedback_rows if isinstance(entry, dict)] if isinstance(feedback_rows, list) else []


def _call_id(row: Row) -> str:
    for field in ("weave_ref", "call_ref"):
        stated = row.get(field)
        match = _CALL.fullmatch(stated) if isinstance(stated, str) else None
        if match is not None:
            return match[1]
    raise RowError("not_an_answer", "the feedback is not about a call")


SPEC: Final[ImporterSpec] = joins.joined_spec(
    NAME,
    "W&B Weave: reactions (thumbs) with their calls.",
    detect,
    lambda options: _Reader(feedback.settings(options, names=None)),
    {**feedback.TEXT_OPTIONS, **feedback.LABEL_OPTIONS},
)

"""AnythingLLM's chats with their ratings: the CSV and JSON exports, or the chats as its API lists them.

A row is one question and its answer. A rating is GOOD, BAD or `--` for none, or, from the API, a score of true, false
or null. What was said before a question is in none of these, and so not in its prompt. The CSV export writes spaces for
line breaks. The exports for fine-tuning (JSONL, Alpaca) leave the ratings out, and are no log.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from ..reading.records import Options, RowError, Sample
from ..reading.remarks import LINE_BREAKS_LOST, WITHOUT_HISTORY, remark
from .base import RawEvent, Row
from .shared import values
from .shared.embedded import parsed
from .shared.labels import Labels, labelled_importer
from .shared.votes import known_label

_VOTES: Final[Mapping[str | bool, str]] = {"GOOD": "up", "BAD": "down", "--": "unrated", True: "up", False: "down"}
_EXPORT: Final = frozenset({"workspace", "prompt", "response", "sent_at"})
_LISTED: Final = frozenset({"prompt", "response", "feedbackScore"})
# What the export writes where a chat has no user of its own.
_NOBODY: Final = frozenset({"API", "unknown user"})
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# A time as JavaScript writes it into CSV: `Sun Mar 01 2026 10:00:00 GMT+0100 (Central European Standard Time)`.
_DATE: Final = re.compile(r"\w{3} (\w{3}) (\d{2}) (\d{4}) (\d{2}:\d{2}:\d{2}) GMT([+-]\d{2})(\d{2})(?: \(.*\))?")


def detect(sample: Sample, options: Options) -> bool:
    """Whether the rows are exported or listed chats."""
    return any(record.keys() >= _EXPORT or record.keys() >= _LISTED for record in sample.records)


def _events(row: Row, labels: Labels) -> list[RawEvent]:
    field = "rating" if "rating" in row else "feedbackScore"
    rating = row.get(field)
    prompt, answer = values.text(row, "prompt", empty="empty_prompt"), _answer(row)
    if parsed(row.get("attachments")):
        raise RowError("not_text", "the question came with attachments, which are no text")
    remark(WITHOUT_HISTORY, "prompt")
    # JSON lists attachments in every row, be there none.
    if "sent_at" in row and "attachments" not in row:
        remark(LINE_BREAKS_LOST, "response")
    user = values.identifier(row, "username")
    return [
        RawEvent(
            [{"role": "user", "content": prompt}],
            answer,
            "unrated" if rating is None else known_label(rating, labels, field),
            source_event_id=values.identifier(row, "id"),
            user_id=None if user in _NOBODY else user,
            created_at=_time(row),
        )
    ]


def _answer(row: Row) -> str:
    """The answer: a text, or the API's JSON of one with its sources beside it."""
    response = parsed(row.get("response"), ("{",)) if "sent_at" not in row else row.get("response")
    if isinstance(response, dict):
        return values.text(response, "text", empty="empty_completion")
    return values.text(row, "response", empty="empty_completion")


def _time(row: Row) -> Any:
    field = "sent_at" if "sent_at" in row else "createdAt"
    return values.time({field: _iso(row.get(field))}, field)


def _iso(value: Any) -> Any:
    """A time of JavaScript's as ISO 8601; anything else as it is."""
    found = _DATE.fullmatch(value) if isinstance(value, str) else None
    if found is None or found[1] not in _MONTHS:
        return value
    return f"{found[3]}-{_MONTHS.index(found[1]) + 1:02d}-{found[2]}T{found[4]}{found[5]}:{found[6]}"


SPEC: Final = labelled_importer(
    "anythingllm",
    "AnythingLLM's chats as CSV or JSON, rated GOOD, BAD or --; its JSONL and Alpaca exports hold no ratings.",
    detect=detect,
    parse=_events,
    known=_VOTES,
)

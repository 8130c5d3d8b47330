"""An index of texts by id: what votes that lie apart from their text are looked up in.

It is a private SQLite data base that lives in memory while it is small and spills to a temporary file of its own once
it is not, so that a join is bounded by disk, not by memory. It is gone with its owner.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

import msgspec

from ...errors import InputError
from ...reading.records import RowError
from ..base import Message
from .messages import Answer, says_something

_ROWS_PER_WRITE: Final = 500
# Nobody reads what an interrupted run leaves of it, so that nothing needs to be undone or waited for.
_SCHEMA: Final = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -65536;
CREATE TABLE texts (seq INTEGER PRIMARY KEY, key TEXT UNIQUE, rank INTEGER, good INTEGER, conversation TEXT,
                    position INTEGER, said BLOB, data BLOB);
CREATE INDEX by_conversation ON texts (conversation, position, seq) WHERE position IS NOT NULL;
CREATE TABLE marks (key TEXT PRIMARY KEY, rank INTEGER, value TEXT) WITHOUT ROWID;
"""
# The better of two texts of one id: a usable one, then one of higher rank. Of two that say the same the one counts of
# which more is known. Two that are equally good and say different things leave nobody to say which was voted on: `two`
# takes their position, which says nothing that another could say too.
_BETTER: Final = "(excluded.good, excluded.rank) > (good, rank)"
_WORSE: Final = "(excluded.good, excluded.rank) < (good, rank) OR NOT good"
_FULLER: Final = "(length(excluded.data), excluded.data) > (length(data), data)"
_PUT_TEXT: Final = f"""
INSERT INTO texts (key, rank, good, conversation, position, said, data)
VALUES (:key, :rank, :good, :conversation, :position, :said, :data)
ON CONFLICT (key) DO UPDATE SET
  data = CASE WHEN {_BETTER} THEN excluded.data WHEN {_WORSE} THEN data
              WHEN excluded.said != said THEN :two WHEN {_FULLER} THEN excluded.data ELSE data END,
  said = CASE WHEN {_BETTER} THEN excluded.said WHEN {_WORSE} OR excluded.said = said THEN said ELSE x'' END,
  conversation = CASE WHEN {_BETTER} THEN excluded.conversation ELSE conversation END,
  position = CASE WHEN {_BETTER} THEN excluded.position ELSE position END,
  rank = CASE WHEN {_BETTER} THEN excluded.rank ELSE rank END,
  good = max(excluded.good, good)
"""
_PUT_MARK: Final = """
INSERT INTO marks VALUES (?, ?, ?)
ON CONFLICT (key) DO UPDATE SET rank = excluded.rank, value = excluded.value
WHERE (excluded.rank, excluded.value) > (rank, value)
"""


class Text(NamedTuple):
    """What a vote can be about: an answer with the messages before it, or a message that others answer.

    Attributes:
        key: What votes call it.
        messages: Its own messages; an answer is the last of them. Empty for a place that says nothing.
        parent: Key of the text before it, whose messages come before its own.
        conversation: The log's own id of the conversation.
        position: Where it stands in the conversation if parents are not known; smaller ones come before it.
        user_id: Who asked.
        model: Name of what answered.
        tools: What was offered with the messages, as `RawEvent.tools`.
        rank: Of two texts of one key the higher counts.
        problem: Reason and detail where the row has no text that can be used; a vote on it is rejected with them.
    """

    key: str
    messages: list[Message]
    parent: str | None = None
    conversation: str | None = None
    position: int | None = None
    user_id: str | None = None
    model: str | None = None
    tools: str | None = None
    rank: int = 0
    problem: tuple[str, str] | None = None


class Mark(NamedTuple):
    """A fact about votes that only other rows tell, such as that a vote was overridden: the highest rank is kept."""

    key: str
    value: str
    rank: int = 0


class Found(NamedTuple):
    """An answer as it was voted on, with the messages before it."""

    prompt: list[Message]
    said: Answer
    text: Text


class TextIndex:
    """Texts and marks of all files of one format."""

    def __init__(self) -> None:
        """Open an empty index."""
        # The empty name is SQLite's own for a data base that nobody else sees and that needs no file while small.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(_SCHEMA)
        self._two = _encoded(Text("", [], problem=("two_texts", "two different texts have the id of the vote's text")))

    def close(self) -> None:
        """Drop all that is in it."""
        self._database.close()

    def put(self, facts: Iterable[Text | Mark]) -> None:
        """Add texts and marks.

        Raises:
            InputError: The temporary file has no room.
        """
        rest = iter(facts)
        while chunk := list(islice(rest, _ROWS_PER_WRITE)):
            try:
                self._write(chunk)
            except sqlite3.OperationalError as error:
                raise InputError(
                    f"texts to join votes with do not fit into a temporary file ({error}); "
                    "name a folder with more room in the environment variable SQLITE_TMPDIR."
                ) from error

    def _write(self, chunk: list[Text | Mark]) -> None:
        marks = [(fact.key, fact.rank, fact.value) for fact in chunk if isinstance(fact, Mark)]
        with self._database:
            self._database.execute("BEGIN")
            self._database.executemany(_PUT_TEXT, [self._row(fact) for fact in chunk if isinstance(fact, Text)])
            self._database.executemany(_PUT_MARK, marks)

    def _row(self, text: Text) -> dict[str, object]:
        return {
            "key": text.key,
            "rank": text.rank,
            "good": text.problem is None,
            "conversation": text.conversation,
            "position": text.position,
            "said": msgspec.msgpack.encode((text.messages, text.parent, *([text.tools] if text.tools else []))),
            "data": _encoded(text),
            "two": self._two,
        }

    def mark(self, key: str) -> str | None:
        """The value of the mark of the highest rank; None where there is none."""
        row = self._database.execute("SELECT value FROM marks WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def text(self, key: str) -> Text | None:
        """The text of that key."""
        row = self._database.execute("SELECT data FROM texts WHERE key = ?", (key,)).fetchone()
        return None if row is None else _decoded(row[0])

    def answer(self, keys: Iterable[str]) -> Found:
        """The answer under the first of `keys` that is known.

        Raises:
            RowError: None is known, it is no answer, or it or what stands before it has no usable text.
        """
        text = next((known for known in map(self.text, keys) if known is not None), None)
        if text is None:
            raise RowError("no_trace", "the text that the vote is about is in none of the inputs")
        _check(text)
        if not text.messages or text.messages[-1]["role"] != "assistant":
            raise RowError("not_an_answer", "the vote is about a text that is no assistant's message")
        last = text.messages[-1]
        if not says_something(last):
            raise RowError("empty_completion", "the text that the vote is about is blank")
        prompt = [message for before in self._before(text) for message in before.messages]
        return Found(prompt + text.messages[:-1], Answer(last["content"], last.get("extra")), text)

    def _before(self, text: Text) -> list[Text]:
        """What stands before a text in its conversation, the oldest first."""
        ancestors = list(self._ancestors(text))
        oldest = ancestors[-1] if ancestors else text
        texts = [*(self._earlier(oldest) if oldest.position is not None else ()), *reversed(ancestors)]
        for before in texts:
            _check(before)
        return texts

    def _ancestors(self, text: Text) -> Iterator[Text]:
        seen = {text.key}
        while text.parent is not None:
            parent = None if text.parent in seen else self.text(text.parent)
            if parent is None:
                raise RowError("broken_history", "a message before the answer is in none of the inputs")
            seen.add(text.parent)
            text = parent
            yield text

    def _earlier(self, text: Text) -> Iterator[Text]:
        rows = self._database.execute(
            "SELECT data FROM texts, (SELECT position AS at, seq AS number FROM texts WHERE key = ?) "
            "WHERE conversation = ? AND position IS NOT NULL AND (position, seq) < (at, number) ORDER BY position, seq",
            (text.key, text.conversation),
        )
        return (_decoded(row[0]) for row in rows)


def _check(text: Text) -> None:
    if text.problem is not None:
        raise RowError(*text.problem)


def _encoded(text: Text) -> bytes:
    return msgspec.msgpack.encode(text)


def _decoded(data: bytes) -> Text:
    return msgspec.msgpack.decode(data, type=Text)

"""Rejected rows without user ids in clear: what a row says of who voted is replaced by the keyed hash of it.

A rejected row is kept as it was logged, for whoever mends the log. Which of its fields name users is told by the
fields' names: the row was not understood.
"""

import json
import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Final

from ..reading.records import MAX_RAW_CHARACTERS, Reject
from .event_ids import pseudonym

# Letters and digits of the names that logs have for who voted, as importers and exports of tools know them.
_NAMES: Final = frozenset(
    [
        "accountid",
        "annotator",
        "annotatorid",
        "authorid",
        "authoruserid",
        "createdby",
        "customerid",
        "distinctid",
        "email",
        "emailaddress",
        "enduser",
        "enduserid",
        "fromaccountid",
        "fromenduserid",
        "ip",
        "ipaddress",
        "labeler",
        "labelerid",
        "personid",
        "rater",
        "raterid",
        "reviewer",
        "reviewerid",
        "submittedby",
        "submitter",
        "submitterid",
        "uid",
        "user",
        "useremail",
        "userid",
        "useridentifier",
        "userids",
        "username",
        "users",
        "useruuid",
        "voter",
        "voterid",
        "wbuserid",
        "worker",
        "workerid",
    ]
)
# Options of importers that name the column of users.
_OPTIONS: Final = ("user", "user_id", "rater")
# A longer text is no id: some logs call what a user wrote `user`.
_LONGEST: Final = 200
_STRING: Final = r'"(?>(?:[^"\\]|\\.)*)(?:"|$)'
_KEY: Final = re.compile(rf'({_STRING})(\s*:\s*)(?=("|[\[{{]|-?\d))', re.DOTALL)
_VALUE: Final = re.compile(rf"({_STRING}|(?<![\w.])-?\d[\w.+\-]*)(\s*:)?", re.DOTALL)
_BRACKETS: Final = re.compile(rf"{_STRING}|[\[\]{{}}]", re.DOTALL)


def stated_columns(options: Mapping[str, str]) -> frozenset[str]:
    """Columns of users that options of an importer name."""
    return frozenset(_plain(options[name]) for name in _OPTIONS if name in options)


def without_users(reject: Reject, user_key: str, stated: Collection[str] = ()) -> str:
    """The raw row with the pseudonym of each user in place of the id, as table `events` has it.

    Args:
        reject: A rejected row.
        user_key: Key of the hash.
        stated: Letters and digits of further names of columns that hold users.
    """
    names = _NAMES.union(stated)
    hashed = _without_cells(reject, user_key, names) if reject.cells else _without_fields(reject.raw, user_key, names)
    # A hash may be longer than the id.
    return hashed[:MAX_RAW_CHARACTERS]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())


@lru_cache(maxsize=1 << 10)
def _named(literal: str) -> str:
    """Letters and digits of a key of JSON: the rows of a log have the same few."""
    return _plain(_text(literal))


def _without_cells(reject: Reject, user_key: str, names: Collection[str]) -> str:
    """A row of cells: the cells of users, or where they cannot be told apart, each that says the same."""
    raw, start = reject.raw, 0
    columns = [name for name, _ in reject.cells]
    in_order = len(set(columns)) == len(columns) and all(len(value) <= _LONGEST for _, value in reject.cells)
    for name, value in reject.cells:
        is_user = _plain(name) in names and len(value) <= _LONGEST
        if not value.strip() or not (is_user or in_order):
            continue
        written = re.escape(value.replace('"', '""'))
        cell = re.compile(rf"(?:(?<=[,;\t|\"])|^){written}(?=[,;\t|\"\r\n]|$)", re.MULTILINE)
        hashed = pseudonym(value, user_key)
        found = cell.search(raw, start) if in_order else None
        if found is None:
            raw = cell.sub(hashed, raw) if is_user else raw
            continue
        start = found.end()
        if is_user:
            raw = raw[: found.start()] + hashed + raw[found.end() :]
            start = found.start() + len(hashed)
    return raw


def _without_fields(raw: str, user_key: str, names: Collection[str]) -> str:
    """JSON, perhaps cut or broken: the values below each name of users."""
    made: list[str] = []
    done = 0
    while (found := _KEY.search(raw, done)) is not None:
        made.append(raw[done : found.end()])
        done = found.end()
        if _named(found.group(1)) in names:
            end = _end(raw, done)
            made.append(_VALUE.sub(lambda value: _hashed(value, user_key), raw[done:end]))
            done = end
    return "".join(made) + raw[done:]


def _end(raw: str, start: int) -> int:
    """Where the value that begins at `start` ends; a cut one at the end."""
    if raw[start] not in "[{":
        found = _VALUE.match(raw, start)
        return found.end(1) if found is not None else start
    depth = 0
    for token in _BRACKETS.finditer(raw, start):
        depth += (token.group() in "[{") - (token.group() in "]}")
        if depth == 0:
            return token.end()
    return len(raw)


def _hashed(value: re.Match[str], user_key: str) -> str:
    text = _text(value.group(1))
    if value.group(2) or not text.strip() or len(text) > _LONGEST:
        # A name, nothing, or a text.
        return value.group()
    return f'"{pseudonym(text, user_key)}"'


def _text(literal: str) -> str:
    """What a string of JSON says; one that is cut or broken as it is written."""
    try:
        text = str(json.loads(literal, strict=False)) if literal.startswith('"') else literal
        # Half of a character has no bytes to hash.
        text.encode()
        return text
    except ValueError:
        return literal.strip('"')

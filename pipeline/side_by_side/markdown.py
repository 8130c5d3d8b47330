"""Tables and sentences as Markdown: what is escaped there is what others wrote."""

import re
from collections.abc import Sequence
from typing import Final

from .words import Entry

_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>#|~])")


def escaped(text: str) -> str:
    """Text that Markdown and HTML take as it is, in one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def prose(text: str) -> str:
    """Escaped text in which what stands between backticks stays code."""
    parts = " ".join(text.split()).split("`")
    if len(parts) % 2 == 0:
        return escaped(text)
    return "".join(f"`{part}`" if place % 2 else _SPECIAL.sub(r"\\\1", part) for place, part in enumerate(parts))


def table(rows: Sequence[dict[str, Entry]]) -> str:
    """Rows as a table; what stands below an entry follows it after a line break."""
    if not rows:
        return ""
    heading = list(rows[0])
    lines = [heading, ["---"] * len(heading)]
    lines += [[_cell(row[name]) for name in heading] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(entry: Entry) -> str:
    return f"{escaped(entry.text)}<br>{escaped(entry.more)}" if entry.more else escaped(entry.text)

"""Tables and sentences as Markdown: what is escaped there is what others wrote."""

import re
from collections.abc import Sequence
from typing import Final

from .words import Entry

_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>#|~])")


def escaped(text: str) -> str:
    """Text that Markdown and HTML take as it is, in one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


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

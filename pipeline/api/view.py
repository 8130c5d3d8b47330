"""How results look in a notebook: compact tables in HTML, with every text of a user's escaped."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

import polars as pl

_MAX_CHARACTERS: Final = 160
_ROWS: Final = 3


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """An HTML table; numbers stand to the right with their thousands apart, texts are cut."""
    head = "".join(f"<th align='left'>{escape(heading)}</th>" for heading in headings)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def paragraph(text: str, *, strong: bool = False) -> str:
    """A line of text."""
    return f"<p>{'<b>' if strong else ''}{escape(text)}{'</b>' if strong else ''}</p>"


def page(*parts: str) -> str:
    """Parts below each other, those that say nothing left out."""
    return f"<div>{''.join(part for part in parts if part)}</div>"


def frame(rows: pl.DataFrame) -> str:
    """All of a small frame."""
    return table(rows.columns, rows.rows())


def first_texts(rows: pl.DataFrame, columns: Sequence[str]) -> str:
    """The first rows' texts; of a list of messages its last one's. Nothing where there is no row."""
    if rows.is_empty():
        return ""
    shown = [name for name in columns if name in rows.columns]
    return table(shown, [[_text(row[name]) for name in shown] for row in rows.head(_ROWS).iter_rows(named=True)])


def _text(value: Any) -> object:
    if isinstance(value, list):
        return _text(value[-1]) if value else ""
    if not isinstance(value, Mapping):
        return value
    return "\n".join(part for part in (value.get("content"), value.get("extra")) if part)


def _cell(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        shown = f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
        return f"<td align='right'>{shown}</td>"
    text = "" if value is None else str(value)
    cut = text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}…"
    return f"<td align='left'>{escape(cut)}</td>"

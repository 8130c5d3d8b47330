"""An evaluation in short, as Markdown: what a CI job shows beside its log."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ..report import Summary
from ..report.formatting import interval, measure
from ..report.ratings import RatingsFacts
from .gate import Condition

# What Markdown or HTML would read as markup; names come from files of others.
_MARKUP: Final = re.compile(r"([\\`*_{}\[\]<>#|~&@])")


def summary_markdown(summary: Summary, conditions: Sequence[Condition]) -> str:
    """The verdict, the conditions, and the numbers that the command prints.

    Args:
        summary: The evaluation in short.
        conditions: What it had to meet, checked.
    """
    numbers = [
        {
            "model": row.model + (f" against {row.compared_with}" if row.compared_with else ""),
            "metric": row.metric + (f"@{row.judge}" if row.judge else ""),
            "value": measure(row.value, row.unit),
            "interval": "" if row.ci_low is None else interval(row.ci_low, row.ci_high, row.unit),
            "rows": f"{row.n:,}",
            "note": row.reason or "",
        }
        for row in summary.numbers
    ]
    return _document(summary.sentence, conditions, [numbers])


def ratings_markdown(facts: RatingsFacts, conditions: Sequence[Condition]) -> str:
    """The same of a table of judged pairs: each judge's ratings.

    Args:
        facts: What the page says.
        conditions: What the ratings had to meet, checked.
    """
    tables = [
        [
            {
                "judge": section.judge,
                "model": row.model,
                "rating": measure(row.rating.value, "points"),
                "interval": interval(row.rating.ci_low, row.rating.ci_high, "points"),
                "comparisons": f"{row.rating.n:,}",
                "note": row.rating.reason or "",
            }
            for row in section.rows
        ]
        for section in facts.judges
    ]
    return _document(facts.sentence, conditions, tables)


def _document(sentence: str, conditions: Sequence[Condition], tables: Iterable[Sequence[Mapping[str, str]]]) -> str:
    checked = [{"holds": "yes" if c.holds else "**no**", "condition": c.name, "numbers": c.detail} for c in conditions]
    parts = ["### thumbline", _plain(sentence), _table(checked, raw=("holds",)), *map(_table, tables)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(rows: Sequence[Mapping[str, str]], raw: tuple[str, ...] = ()) -> str:
    if not rows:
        return ""
    lines = [list(rows[0]), ["---"] * len(rows[0])]
    lines += [[value if name in raw else _plain(value) for name, value in row.items()] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _plain(text: str) -> str:
    """Text that shows as it is: on one line, without markup or control characters."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return _MARKUP.sub(r"\\\1", shown)

"""The page of an export: what was written, what was not, and how to use it."""

from collections.abc import Mapping
from typing import Final

from .lines import REJECTS, Lines
from .rows import KINDS
from .targets.base import Target, Written

README: Final = "README.md"


def notes_of(target: Target, written: Written, lines: Lines) -> list[str]:
    """What a person should know before the files are used, a sentence each."""
    limits = target.limits
    found = [
        f"{name} has {rows:,} rows, and {target.title} takes no fewer than {limits.min_rows:,}."
        for name, rows in written.rows.items()
        if name.endswith("_train.jsonl") and rows < limits.min_rows
    ]
    found += [f"No row of {kind} is in the training split." for kind in target.kinds if _lacks_training(written, kind)]
    if lines.long_rows:
        found.append(
            f"{lines.long_rows:,} rows have more than {limits.long_row_bytes:,} bytes, and may have more tokens than "
            f"are taken; tokens are not counted here."
        )
    if lines.weighted:
        found.append(f"{lines.weighted:,} rows here have a weight other than 1, for which {target.title} has no field.")
    return found


def _lacks_training(written: Written, kind: str) -> bool:
    names = [name for name in written.rows if name.startswith(f"{kind}_")]
    return bool(names) and not any(name.endswith("_train.jsonl") for name in names)


def page(target: Target, written: Written, lines: Lines) -> str:
    """The page's Markdown."""
    parts = [f"# {written.name}: {target.title}", "", *_table(("file", "rows"), written.rows), ""]
    if notes := notes_of(target, written, lines):
        parts += [*(f"- {note}" for note in notes), ""]
    if any(name.endswith("_train.jsonl") for name in written.rows):
        parts += ["## Use", "", target.usage(written).rstrip(), ""]
    if lines.rejected:
        parts += ["## Not written", "", f"`{REJECTS}` names each row and says why.", ""]
        parts += [*_table(("reason", "rows"), dict(sorted(lines.rejected.items()))), ""]
    kinds = [kind for kind in KINDS if kind not in target.kinds]
    parts += [f"Rows of {kind} are not taken here, and none was tried.\n" for kind in kinds]
    parts += ["Prompts and answers stand here as the log holds them: they can contain personal data.", ""]
    return "\n".join(parts)


def _table(headings: tuple[str, str], rows: Mapping[str, int]) -> list[str]:
    lines = [f"| {' | '.join(headings)} |", "|---|---:|"]
    return lines + [f"| `{name}` | {count:,} |" for name, count in rows.items()]

"""Why rows of a log could not be used, in words for the terminal and the report: counts, one example, the way out."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ..errors import InputError
from ..storage.manifests import Manifest

_SHOWN: Final = 5
# What helps with a reason that its detail does not say itself.
_WAYS_OUT: Final[Mapping[str, str]] = {
    "broken_json": "Each line has to be one JSON object; CSV, a JSON array, Parquet and Arrow are read too.",
    "not_an_object": "Each row has to be a JSON object with named fields.",
    "broken_csv": "A quote inside a quoted cell is written twice.",
    "wrong_column_count": "Does the first line name every column? Commas, semicolons and tabs are told by it.",
    "invalid_utf8": "State another encoding than UTF-8: --set 'events.options={encoding: cp1252}'.",
    "unknown_format": "`thumbline formats` lists what is read; --format names one of them.",
    "missing_field": "State where a field lies: --set 'events.options={prompt: question, completion: answer}'.",
    "wrong_type": "If another column holds it, state that one: --set 'events.options={prompt: question}'.",
    "line_too_long": "Raise events.max_line_bytes.",
}


class Example(NamedTuple):
    """Where the first row of a reason is, and what was seen there."""

    source_file: str
    source_line: int
    detail: str

    @property
    def told(self) -> str:
        """Place and detail."""
        place = self.source_file if self.source_line == 0 else f"{self.source_file}, line {self.source_line:,}"
        return f"{place}: {self.detail.rstrip('.')}"


def reject_lines(manifest: Manifest) -> list[str]:
    """Counted reasons in one line, then the first example of the most frequent one; of each where most are rejected.

    Args:
        manifest: Of the stage `events`; any other has no such reasons.
    """
    frequent = _frequent(manifest)
    if not frequent:
        return []
    examples = _examples(manifest)
    left = f", and {len(frequent) - _SHOWN} more" if len(frequent) > _SHOWN else ""
    lines = ["rejected: " + ", ".join(f"{reason} {rows:,}" for reason, rows in frequent[:_SHOWN]) + left]
    shown = frequent[: _SHOWN if 2 * manifest.counts.rejected > manifest.counts.given else 1]
    told = [f"{reason}: {examples[reason].told}{_way_out(reason)}" for reason, _ in shown if reason in examples]
    return lines + told


def _frequent(manifest: Manifest) -> list[tuple[str, int]]:
    counted: dict[str, int] = manifest.notes.get("reject_reasons", {})
    return sorted(counted.items(), key=lambda entry: (-entry[1], entry[0]))


def _examples(manifest: Manifest) -> dict[str, Example]:
    return {reason: Example(**found) for reason, found in manifest.notes.get("reject_examples", {}).items()}


def _way_out(reason: str) -> str:
    return f". {_WAYS_OUT[reason]}" if reason in _WAYS_OUT else ""


def refuse_unusable(manifest: Manifest) -> None:
    """Raise where the logs gave no event: nothing after this can have a row.

    Args:
        manifest: Of the stage `events`.

    Raises:
        InputError: No event is there; the counted reasons, one example and what helps are named.
    """
    if manifest.counts.rows_out:
        return
    notes: Mapping[str, Any] = manifest.notes
    rejected = manifest.counts.rejected
    if not rejected:
        raise InputError(
            f"events: {notes.get('records', 0):,} rows were read, and none of them is feedback on an answer. "
            "Are votes and texts in different files? Name them together."
        )
    reasons = _frequent(manifest)
    counted = ", ".join(f"{reason} {rows:,}" for reason, rows in reasons[:_SHOWN])
    first = _examples(manifest)[reasons[0][0]]
    raise InputError(
        f"events: {rejected:,} of {manifest.counts.given:,} rows rejected, so there is nothing to go on with: "
        f"{counted} ({first.told}){_way_out(reasons[0][0]) or '.'}"
    )

"""Why rows and files of a log could not be used, in words for the terminal: counts, an example, the way out."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from ..storage.manifests import Manifest

_SHOWN: Final = 5
# What helps with a reason that its detail does not say itself.
WAYS_OUT: Final[Mapping[str, str]] = {
    "broken_json": "Each line has to be one JSON object; CSV, a JSON array, Parquet and Arrow are read too.",
    "not_an_object": "Each row has to be a JSON object with named fields.",
    "broken_csv": "A quote inside a quoted cell is written twice.",
    "wrong_column_count": "Does the first line name every column? Commas, semicolons and tabs are told by it.",
    "invalid_utf8": "State another encoding than UTF-8: --set 'events.options={encoding: cp1252}'.",
    "unknown_format": "`thumbline formats` lists what is read; --set events.format=NAME states one of them.",
    "missing_field": "State where a field lies: --set 'events.options={prompt: question, completion: answer}'.",
    "wrong_type": "If another column holds it, state that one: --set 'events.options={prompt: question}'.",
    "line_too_long": "Raise events.max_line_bytes.",
    "unknown_label": 'On the command line: --set \'events.options={up: "good", down: "bad"}\'.',
    "unknown_role": "State what each role is in events.options: `thumbline formats` names the options.",
    "bad_time": "State the column of times, or leave it out: --set 'events.options={created_at: time}'.",
    "empty_prompt": "If another column holds the prompt, state it: --set 'events.options={prompt: question}'.",
    "empty_completion": "If another column holds the answer, state it: --set 'events.options={completion: answer}'.",
    "unreadable_parquet": "Copy or export the file again: it is damaged, cut or no Parquet.",
    "unreadable_arrow": "Copy or export the file again: it is damaged, cut or no Arrow file.",
    "truncated_stream": "Copy the file again: its end is missing.",
    "corrupt_stream": "Copy the file again: it is damaged.",
}


class Example(NamedTuple):
    """Where the first row of a reason is, and what was seen there."""

    source_file: str
    source_line: int
    detail: str

    @property
    def told(self) -> str:
        """Place and detail; a detail that begins with the file names it once."""
        detail = self.detail.removeprefix(f"{self.source_file}: ").rstrip(".")
        place = self.source_file if self.source_line == 0 else f"{self.source_file}, line {self.source_line:,}"
        return f"{place}: {detail}"


class LostFile(NamedTuple):
    """A file that gave no event.

    Attributes:
        source_file: Its name.
        rows: Its rows, each of which was rejected; 0 where the file was not read at all.
        reason: The most frequent one.
        source_line: Where that is first; 0: of the whole file.
        detail: What was seen there.
    """

    source_file: str
    rows: int
    reason: str
    source_line: int
    detail: str

    @property
    def told(self) -> str:
        """What became of it, why, and what helps."""
        place = Example(self.source_file, self.source_line, self.detail).told
        what = "not read" if self.rows == 0 else f"{rows_of(self.rows)} rejected"
        return f"{place} ({what}: {self.reason}){way_out(self.reason)}"


def rows_of(count: int) -> str:
    """A number of rows in words."""
    return f"{count:,} row{'' if count == 1 else 's'}"


def reject_lines(manifest: Manifest, *, brief: bool = False) -> list[str]:
    """Counted reasons in one line, then the first example of the most frequent one; of each where most are rejected.

    Args:
        manifest: Of the stage `events`; any other has no such reasons.
        brief: The counted reasons alone, where an error follows that says the rest.
    """
    frequent = frequent_reasons(manifest)
    lines = [f"rejected: {counted(frequent)}"] if frequent else []
    if brief:
        return lines + unread_lines(manifest, with_files=False)
    most = 2 * manifest.counts.rejected > manifest.counts.given
    lines += reason_lines(manifest)[: _SHOWN if most else 1]
    return lines + unread_lines(manifest, with_files=True)


def counted(reasons: list[tuple[str, int]]) -> str:
    """Reasons with their rows, the first few of them, such as `unknown_label 38, broken_json 2`."""
    left = f", and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
    return ", ".join(f"{reason} {rows:,}" for reason, rows in reasons[:_SHOWN]) + left


def reason_lines(manifest: Manifest, *, with_rows: bool = False) -> list[str]:
    """The most frequent reasons, one line each: its first example, what else was seen, and the way out."""
    examples = {reason: Example(**found) for reason, found in manifest.notes.get("reject_examples", {}).items()}
    return [
        f"{reason}{f' {rows:,}' if with_rows else ''}: {examples[reason].told}{_also_seen(manifest, reason)}"
        f"{way_out(reason)}"
        for reason, rows in frequent_reasons(manifest)[:_SHOWN]
        if reason in examples
    ]


def _also_seen(manifest: Manifest, reason: str) -> str:
    """The labels of a reason with their rows, where it has several."""
    seen: Mapping[str, int] = manifest.notes.get("reject_labels", {}).get(reason, {})
    return f" (seen: {', '.join(f'{label} {rows:,}' for label, rows in seen.items())})" if len(seen) > 1 else ""


def frequent_reasons(manifest: Manifest) -> list[tuple[str, int]]:
    """Reasons with their rows, the most frequent first."""
    found: dict[str, int] = manifest.notes.get("reject_reasons", {})
    return sorted(found.items(), key=lambda entry: (-entry[1], entry[0]))


def way_out(reason: str) -> str:
    """What helps with a reason, as a sentence behind another."""
    return f". {WAYS_OUT[reason]}" if reason in WAYS_OUT else "."


def unread_files(manifest: Manifest) -> list[LostFile]:
    """The first files that were not read at all."""
    return [LostFile(**found) for found in manifest.notes.get("unread_files", ())]


def unread_lines(manifest: Manifest, *, with_files: bool) -> list[str]:
    """A sentence on files that could not be read, which are no rejected rows; none where all were."""
    reasons: Mapping[str, int] = manifest.notes.get("unread_reasons", {})
    total = sum(reasons.values())
    if not total:
        return []
    listed = counted(sorted(reasons.items(), key=lambda entry: (-entry[1], entry[0])))
    lines = [f"{total:,} file{'' if total == 1 else 's'} could not be read: {listed}"]
    return lines + [file.told for file in unread_files(manifest)[:_SHOWN]] if with_files else lines

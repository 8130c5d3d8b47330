"""When a run stops after `events`: most of the log, or a whole file of it, was rejected."""

from collections.abc import Iterator
from typing import Final

from ..errors import InputError
from ..storage.manifests import Manifest
from .reasons import LostFile, frequent_reasons, reason_lines, rows_of, unread_files

_SHOWN: Final = 5
# The log itself says of such a row that it is no vote: nothing is wrong with it, and no setting would mend it.
_NO_FEEDBACK: Final = frozenset(
    {
        "cancelled",
        "deleted_message",
        "evaluation_failed",
        "invalidated",
        "no_event",
        "no_vote",
        "not_a_vote",
        "not_human",
        "not_submitted",
        "other_feedback",
        "overridden",
    }
)
# An empty file has nothing to lose: logs that are cut by the hour leave some.
_EMPTY: Final = "empty_file"
# Folders that hold a file a conversation always have some that cannot be used; beyond so many files one of fewer
# rows than this is counted and said, and stops nothing.
_MANY_FILES: Final = 100
_FEW_ROWS: Final = 10


def refusal(manifest: Manifest, most_rejected: float) -> InputError | None:
    """The error that ends a run after `events`; None where it goes on.

    Args:
        manifest: Of the stage `events`.
        most_rejected: Share of the rows that may be rejected, `events.most_rejected`; at 1 whole files may be, too.

    Returns:
        An error with counts, the first example of each reason, and what helps: no event is there, more than that
        share of the rows was rejected, or all of a file.
    """
    if not manifest.counts.rows_out:
        return _nothing(manifest)
    if most_rejected >= 1.0:
        return None
    harmed = sum(rows for reason, rows in frequent_reasons(manifest) if reason not in _NO_FEEDBACK)
    if harmed > most_rejected * manifest.counts.given:
        return _most(manifest, most_rejected)
    lost = _lost_files(manifest)
    return _files(manifest, lost) if lost else None


def _nothing(manifest: Manifest) -> InputError:
    rejected, unread = manifest.counts.rejected, unread_files(manifest)
    if rejected:
        rows = "row was" if manifest.counts.given == 1 else "rows were"
        head = f"events: {rejected:,} of {manifest.counts.given:,} {rows} rejected, so there is nothing to go on with"
        return InputError(_listed(head, _reasons(manifest)))
    if unread:
        return InputError(
            _listed("events: no file could be read, so there is nothing to go on with", (one.told for one in unread))
        )
    return InputError(
        f"events: {rows_of(manifest.notes.get('records', 0))} were read, and none of them is feedback on an answer. "
        "Are votes and texts in different files? Name them together."
    )


def _most(manifest: Manifest, most_rejected: float) -> InputError:
    counts = manifest.counts
    head = (
        f"events: {counts.rejected:,} of {counts.given:,} rows were rejected "
        f"({counts.rejected / counts.given:.0%}), more than events.most_rejected ({most_rejected:.0%}) allows"
    )
    return InputError(_listed(head, _reasons(manifest)) + _go_on(manifest))


def _files(manifest: Manifest, lost: list[LostFile]) -> InputError:
    files = "file was" if len(lost) == 1 else "files were"
    head = f"events: {len(lost):,} {files} rejected as a whole"
    return InputError(_listed(head, (one.told for one in lost)) + _go_on(manifest))


def _reasons(manifest: Manifest) -> Iterator[str]:
    yield from reason_lines(manifest, with_rows=True)
    yield from (one.told for one in unread_files(manifest)[:_SHOWN])


def _listed(head: str, lines: Iterator[str]) -> str:
    shown = list(lines)
    more = f"\n  and {len(shown) - _SHOWN:,} more" if len(shown) > _SHOWN else ""
    return f"{head}:\n  " + "\n  ".join(shown[:_SHOWN]) + more


def _go_on(manifest: Manifest) -> str:
    return (
        f"\nMend it and run again. To go on with the {manifest.counts.rows_out:,} events that were read: "
        f"--set events.most_rejected=1"
    )


def _lost_files(manifest: Manifest) -> list[LostFile]:
    """Files that gave no event though they hold something, as far as they are named."""
    many = manifest.notes.get("sources", 0) > _MANY_FILES
    rejected = [LostFile(**found) for found in manifest.notes.get("rejected_files", ())]
    whole = [one for one in rejected if one.reason not in _NO_FEEDBACK and not (many and one.rows < _FEW_ROWS)]
    return [*(one for one in unread_files(manifest) if one.reason != _EMPTY), *whole]

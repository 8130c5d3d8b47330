"""What a log held and what became of it: counts over the parts of tables `events` and `rejects`, as they pass."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import polars as pl

from ..reading.inputs import Inputs
from ..reading.remarks import Remarks, as_notes, in_words
from ..storage.manifests import Counts, TableRecord, value_counts
from .distinct import count_contradicted, count_distinct
from .reasons import Example, LostFile
from .sorting import TaskFiles, UnitCounts

# So many files are named of those that gave nothing, and so many labels of one reason.
_NAMED_FILES: Final = 20
_NAMED_LABELS: Final = 5
# A column of texts taken for one of labels has a label a row: of that many the most frequent tell nothing.
_DISTINCT_LABELS: Final = 1_000
_LABELLED: Final = "unknown_label"
_LABEL: Final = r" is (.+?)(?:;|, not |$)"


class Tally:
    """Counts of events and rejects.

    Attributes:
        deliveries: Events, repeated deliveries included.
        unread: Files that were not read at all.
    """

    def __init__(self, written: Sequence[TaskFiles]) -> None:
        """Begin before the first part; files of which nothing but rejects came are looked at more closely."""
        self._written = written
        self._sources = _by_source(count for entry in written for count in entry.units)
        self._lost = {name: rejects for name, (events, rejects) in self._sources.items() if rejects and not events}
        self._formats: Counter[str] = Counter()
        self._votes: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._unread: Counter[str] = Counter()
        self._labels: Counter[str] = Counter()
        self._examples: dict[str, Example] = {}
        self._unread_files: list[LostFile] = []
        self._lost_reasons: dict[str, Counter[str]] = {}
        self._lost_examples: dict[tuple[str, str], Example] = {}
        self._openers = 0
        self.deliveries = 0

    @property
    def unread(self) -> int:
        """Files that were not read at all."""
        return self._unread.total()

    def events(self, frame: pl.DataFrame, texts: pl.DataFrame) -> None:
        """Count a part of table `events`, whose texts are in this part of table `texts`."""
        self._formats.update(value_counts(frame["format"]))
        self._votes.update(value_counts(frame["vote"]))
        opened = texts.filter(pl.col("prompt").list.len() == 0)["prompt_id"].unique()
        if len(opened):
            self._openers += int(frame["prompt_id"].is_in(opened.implode()).sum())
        self.deliveries += int(frame["deliveries"].sum())

    def rejects(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Count a part of table `rejects`, which is given back."""
        rows, files = frame.filter(pl.col("source_line") > 0), frame.filter(pl.col("source_line") == 0)
        self._reasons.update(value_counts(rows["reason"]))
        for reason, *place in _firsts(rows, ["reason"]):
            self._examples.setdefault(str(reason), Example(*place))
        self._add_labels(rows.filter(pl.col("reason") == _LABELLED))
        self._unread.update(value_counts(files["reason"]))
        for name, reason, detail in files.select("source_file", "reason", "detail").iter_rows():
            if len(self._unread_files) < _NAMED_FILES:
                self._unread_files.append(LostFile(name, 0, reason, 0, detail))
        if self._lost:
            self._add_lost(rows.filter(pl.col("source_file").is_in(list(self._lost))))
        return frame

    def _add_labels(self, rows: pl.DataFrame) -> None:
        if len(self._labels) < _DISTINCT_LABELS:
            self._labels.update(value_counts(rows["detail"].str.extract(_LABEL).drop_nulls()))

    def _add_lost(self, rows: pl.DataFrame) -> None:
        counts = rows.group_by("source_file", "reason").len()
        for name, reason, count in counts.iter_rows():
            self._lost_reasons.setdefault(name, Counter())[reason] += count
        for reason, name, line, detail in _firsts(rows, ["source_file", "reason"]):
            self._lost_examples.setdefault((name, reason), Example(name, line, detail))

    def counts(self, outputs: Mapping[str, TableRecord]) -> Counts:
        """Rows through the stage; a file that was not read is no row.

        Raises:
            TableError: Rows were lost, which is a fault of an importer.
        """
        read = [count for entry in self._written for count in entry.units]
        counts = Counts(
            rows_in=sum(count.records for count in read),
            gave=sum(count.events + count.rejects for count in read),
            rows_out=outputs["events"].rows,
            merged=self.deliveries - outputs["events"].rows,
            rejected=outputs["rejects"].rows - self.unread,
        )
        counts.check("events")
        return counts

    def notes(self, inputs: Inputs) -> dict[str, Any]:
        """Facts for the terminal and the report."""
        read = [count for entry in self._written for count in entry.units]
        remarks = as_notes(sum((count.remarks for count in read), Remarks()))
        return {
            "records": sum(count.records for count in read),
            "formats": dict(sorted(self._formats.items())),
            "votes": dict(sorted(self._votes.items())),
            "reject_reasons": dict(sorted(self._reasons.items())),
            "remarks": remarks,
            "reject_examples": {reason: example._asdict() for reason, example in sorted(self._examples.items())},
            "reject_labels": {_LABELLED: _most_common(self._labels)} if self._labels else {},
            "unread_reasons": dict(sorted(self._unread.items())),
            "unread_files": [file._asdict() for file in self._unread_files],
            "rejected_files": [file._asdict() for file in self._rejected_files()],
            "skipped": inputs.skipped,
            "said": [*inputs.said, *in_words(remarks)],
            "files": len({count.source_file for count in read if count.events}),
            "sources": len(self._sources),
            "users": count_distinct([entry.users for entry in self._written]),
            "openers": self._openers,
            "source_event_ids_with_several_contents": count_contradicted([entry.names for entry in self._written]),
        }

    def _rejected_files(self) -> list[LostFile]:
        """Files of which every row was rejected, those with most rows first; their number is bounded."""
        found = []
        for name, rows in sorted(self._lost.items(), key=lambda entry: (-entry[1], entry[0]))[:_NAMED_FILES]:
            reason = next(iter(_most_common(self._lost_reasons[name])))
            example = self._lost_examples[name, reason]
            found.append(LostFile(name, rows, reason, example.source_line, example.detail))
        return found


def _by_source(units: Iterable[UnitCounts]) -> dict[str, tuple[int, int]]:
    """Events and rejected rows of each source."""
    found: dict[str, tuple[int, int]] = {}
    for unit in units:
        events, rejects = found.get(unit.source_file, (0, 0))
        found[unit.source_file] = events + unit.events, rejects + unit.rejects
    return found


def _firsts(rows: pl.DataFrame, by: list[str]) -> list[tuple[Any, ...]]:
    """Reason, file, line and detail of the first row of each kind."""
    first = rows.unique(by, keep="first", maintain_order=True)
    return first.select("reason", *Example._fields).rows()


def _most_common(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))[:_NAMED_LABELS])

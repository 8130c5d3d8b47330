"""The funnel: what each stage read, kept, merged and set aside, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import polars as pl

from ..storage.manifests import Counts
from ..tables import VOTE
from .formatting import count, plural
from .inputs import Missing, ReportInputs


class Reason(NamedTuple):
    """Rows that were set aside for one reason."""

    reason: str
    rows: int


@dataclass(frozen=True)
class Step:
    """One step of the funnel.

    Attributes:
        name: What happens, in words.
        stage: The stage that does it.
        unit: What a row is.
        rows_in: Rows that it read.
        given: Rows that those gave: kept, merged and set aside together.
        rows_out: Rows that it kept.
        merged: Rows that became part of another row.
        set_aside: Rows that it dropped or left out.
        reasons: Why rows were set aside, most frequent first.
        detail: What the kept rows are.
    """

    name: str
    stage: str
    unit: str
    rows_in: int
    given: int
    rows_out: int
    merged: int
    set_aside: int
    reasons: tuple[Reason, ...]
    detail: str


def funnel(inputs: ReportInputs) -> tuple[Step, ...] | Missing:
    """The steps of the stages that belong to the report, in order."""
    steps = tuple(step for step in (make(inputs) for make in _STEPS) if step is not None)
    return steps or Missing("No stage that prepares data belongs to this report: it was given finished rows.")


def _counts(inputs: ReportInputs, stage: str) -> Counts | None:
    manifest = inputs.manifests.get(stage)
    return None if manifest is None else manifest.counts


def _reasons(frame: pl.DataFrame | None, column: str) -> tuple[Reason, ...]:
    if frame is None:
        return ()
    counted = frame.select(pl.col(column).cast(pl.String)).drop_nulls().group_by(column).len()
    return _ordered(dict(counted.iter_rows()))


def _ordered(counts: Mapping[str, int]) -> tuple[Reason, ...]:
    return tuple(Reason(*item) for item in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if item[1])


def _noted_reasons(inputs: ReportInputs, stage: str, note: str) -> tuple[Reason, ...]:
    manifest = inputs.manifests.get(stage)
    noted = {} if manifest is None else manifest.notes.get(note, {})
    return _ordered({str(name): int(rows) for name, rows in noted.items()})


def _step(counts: Counts, name: str, stage: str, unit: str, reasons: tuple[Reason, ...] = (), detail: str = "") -> Step:
    numbers = (counts.rows_in, counts.given, counts.rows_out, counts.merged, counts.rejected)
    return Step(name, stage, unit, *numbers, reasons, detail)


def _events(inputs: ReportInputs) -> Step | None:
    counts = _counts(inputs, "events")
    if counts is None:
        return None
    detail = "; ".join(
        part
        for part in (
            f"the rows gave {count(counts.given)}, with what was set aside" if counts.given != counts.rows_in else "",
            _votes_in_words(inputs),
            "a merged row is a second delivery of the same event" if counts.merged else "",
        )
        if part
    )
    rejects = inputs.table("rejects")
    # Line 0 stands for a file that was not read, which is no row.
    rows = None if rejects is None else rejects.filter(pl.col("source_line") > 0)
    reasons = _reasons(rows, "reason") or _noted_reasons(inputs, "events", "reject_reasons")
    return _step(counts, "Log rows to events", "events", "log rows", reasons, detail)


def _votes_in_words(inputs: ReportInputs) -> str:
    """How many events gave which vote, as `935 up, 440 down`."""
    manifest = inputs.manifests.get("events")
    votes = {} if manifest is None else manifest.notes.get("votes", {})
    return ", ".join(f"{count(int(votes[name]))} {name}" for name in VOTE.categories if votes.get(name))


def _responses(inputs: ReportInputs) -> Step | None:
    counts = _counts(inputs, "responses")
    if counts is None:
        return None
    detail = "votes on the same answer to the same prompt are counted together"
    both = int(inputs.manifests["responses"].notes.get("responses_with_both_votes", 0))
    detail += f"; {plural(both, 'response')} got votes both ways" if both else ""
    detail += "".join(f"; {line.rstrip('.')}" for line in inputs.manifests["responses"].said)
    screened = ", ".join(f"{count(rows)} for {name}" for name, rows in _noted_reasons(inputs, "responses", "dropped"))
    detail += f"; responses screened out: {screened}" if screened else ""
    return _step(counts, "Events to responses", "responses", "events", (), detail)


def _labelled(inputs: ReportInputs) -> Step | None:
    counts = _counts(inputs, "unpaired")
    if counts is None:
        return None
    reasons = _reasons(inputs.table("responses"), "abstain_reason") or _noted_reasons(
        inputs, "responses", "abstain_reasons"
    )
    notes = inputs.manifests["unpaired"].notes
    sides = [f"{count(int(notes[side]))} {side}" for side in ("desirable", "undesirable") if side in notes]
    return _step(counts, "Responses to labelled rows", "unpaired", "responses", reasons, ", ".join(sides))


def _paired(inputs: ReportInputs) -> Step | None:
    counts = _counts(inputs, "pairs")
    if counts is None:
        return None
    frame = inputs.table("pair_yield")
    missed = {} if frame is None else dict(frame.filter(pl.col("outcome") != "paired")[["outcome", "n_prompts"]].rows())
    pairs = inputs.manifests["pairs"].notes.get("pairs")
    detail = "" if pairs is None else plural(int(pairs), "pair")
    return _step(counts, "Prompts to pairs", "pairs", "prompts", _ordered(missed), detail)


def _sequences(inputs: ReportInputs) -> Step | None:
    counts = _counts(inputs, "sequences")
    if counts is None:
        return None
    notes = inputs.manifests["sequences"].notes
    cut = int(notes.get("truncated_rows", 0))
    detail = f"{count(cut)} of them cut to length" if cut else "a merged row has the same tokens as another"
    return _step(
        counts,
        "Rows to token sequences",
        "sequences",
        "rows",
        _reasons(inputs.table("sequence_drops"), "reason"),
        detail,
    )


def _scored(inputs: ReportInputs) -> Step | None:
    counts = _counts(inputs, "metrics")
    if counts is None:
        return None
    reasons = (Reason("sequence_dropped", counts.rejected),) if counts.rejected else ()
    return _step(counts, "Held-out rows to scored rows", "metrics", "pairs and rows", reasons)


_STEPS: Final = (_events, _responses, _labelled, _paired, _sequences, _scored)

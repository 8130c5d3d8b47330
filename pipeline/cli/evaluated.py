"""What `evaluate` and `compare` print of an evaluation: tables for people, and with `--json` one document."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .terminal import notes, out, plain_line, print_rows

if TYPE_CHECKING:
    # Imported where they are used: `thumbline --help` should not wait for them.
    from thumbline.evaluators import Metric

    from ..evaluation.gate import Condition
    from ..report import Summary
    from ..report.ratings import RatingsFacts


def evaluation_document(
    tone: str, sentence: str, numbers: "Iterable[Metric]", output: Path, conditions: "Sequence[Condition]" = ()
) -> dict[str, Any]:
    """An evaluation in short.

    Keys: `verdict` (`tone`, `sentence`), `numbers` (headlines, each as `metrics.json` has it), `conditions` (`name`,
    `holds`, `detail`), `report`, the page, and `metrics`, the file of every number.
    """
    from ..report.metrics_json import metric_json

    return {
        "verdict": {"tone": tone, "sentence": sentence},
        "numbers": [metric_json(row) for row in numbers],
        "conditions": [{"name": one.name, "holds": one.holds, "detail": one.detail} for one in conditions],
        "report": output / "report.html",
        "metrics": output / "metrics.json",
    }


def rating_numbers(facts: "RatingsFacts") -> "list[Metric]":
    """Ratings and win rates of judged pairs."""
    rows = [row for section in facts.judges for row in section.rows]
    return [metric for row in rows for metric in (row.rating, row.against) if metric is not None]


def print_summary(summary: "Summary", output: Path) -> None:
    """Headlines, the verdict, and where the report lies."""
    from ..report.evaluation_parts import shown, shown_interval

    rows = [
        {
            "model": row.model + (f" against {row.compared_with}" if row.compared_with else ""),
            "metric": row.metric + (f"@{row.judge}" if row.judge else ""),
            "value": shown(row),
            "interval": "" if row.ci_low is None else shown_interval(row),
            "rows": f"{row.n:,}",
            "note": row.reason or "",
        }
        for row in summary.numbers
    ]
    print_rows(rows, whole=("metric", "value"), console=notes)
    _print_ending(summary.sentence, output)


def print_ratings(facts: "RatingsFacts", output: Path) -> None:
    """Ratings of each judge, what was read, the verdict, and where the report lies."""
    from ..report.formatting import interval, measure

    for section in facts.judges:
        rows = [
            {
                "model": row.model,
                "rating": measure(row.rating.value, "points"),
                "interval": interval(row.rating.ci_low, row.rating.ci_high, "points"),
                f"won against {section.anchor}": "" if row.against is None else measure(row.against.value, "share"),
                "comparisons": f"{row.rating.n:,}",
                "note": row.rating.reason or "",
            }
            for row in section.rows
        ]
        print_rows(rows, whole=("model", "rating"), console=notes)
    for note in facts.notes:
        notes.print(note, markup=False)
    _print_ending(facts.sentence, output)


def _print_ending(sentence: str, output: Path) -> None:
    out.print(plain_line(sentence), markup=False, soft_wrap=True)
    text = f"Report: {output / 'report.html'}  every number: {output / 'metrics.json'}"
    out.print(text, markup=False, soft_wrap=True)


def print_conditions(conditions: "Sequence[Condition]") -> None:
    """Whether each condition holds, and by which numbers."""
    print_rows([{"condition": c.name, "holds": "yes" if c.holds else "NO", "numbers": c.detail} for c in conditions])

"""Scored rows to metrics with intervals and a verdict, from Python."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import polars as pl

from ..errors import InputError
from . import view
from .arguments import check_numbers, check_texts, check_whole, texts_of
from .given import Table, as_frame
from .runs import Run

if TYPE_CHECKING:
    # Imported where they are used: `import thumbline` should not wait for what is not called.
    from thumbline.evaluators import Metric

    from ..evaluation.outcome import Outcome
    from ..evaluation.subject import Subject
    from ..report import ReportInputs
    from ..report.evaluation_facts import EvaluationFacts

_ORIGIN: Final = "thumbline.evaluate"


class Estimate(NamedTuple):
    """A number with its interval.

    Attributes:
        value: The number; None where the rows do not determine it.
        low: Lower end of the interval; None where there is none.
        high: Upper end.
        n: Rows behind it.
        groups: Prompt groups behind it, which are what is resampled.
        unit: Its unit.
        reason: Why the value or the interval is None.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    groups: int
    unit: str
    reason: str | None

    def __str__(self) -> str:
        """Value and interval as the report writes them."""
        from ..report.formatting import interval, measure

        if self.low is None or self.high is None:
            return f"{measure(self.value, self.unit)} ({self.reason or 'no interval'})"
        return f"{measure(self.value, self.unit)} ({interval(self.low, self.high, self.unit)})"


class Evaluation:
    """An evaluation.

    Attributes:
        model: The model that verdict and headline numbers are about; None where no model has rows.
        verdict: What the report says in its first sentence.
        tone: The same in a word: better, priced (better, at a price), same, worse or unknown.
        metrics: Every number with its interval: one row a metric, model and slice.
    """

    def __init__(self, outcome: "Outcome", inputs: "ReportInputs") -> None:
        """Say what follows from the metrics."""
        from ..report import summary
        from ..report.evaluation_facts import evaluation_facts

        self._outcome = outcome
        self._facts: EvaluationFacts = evaluation_facts(inputs)
        self.metrics = outcome.metrics
        found = summary(inputs)
        self.verdict, self._numbers, self.tone = found.sentence, found.numbers, found.tone
        self.model = self._facts.subject

    @property
    def accuracy(self) -> Estimate | None:
        """Share of pairs whose better answer gets the higher reward; None where there are no pairs."""
        return self._headline("accuracy")

    @property
    def margin(self) -> Estimate | None:
        """Mean reward of the better answer less that of the worse; None where there are no pairs."""
        return self._headline("margin")

    @property
    def auc(self) -> Estimate | None:
        """Chance that a desirable answer gets a higher reward than another; None where there are no unpaired rows."""
        return self._headline("auc")

    @property
    def pairs(self) -> pl.DataFrame | None:
        """The scored pairs; None where there are none."""
        return self._outcome.subject.pairs

    @property
    def unpaired(self) -> pl.DataFrame | None:
        """The scored unpaired rows; None where there are none."""
        return self._outcome.subject.unpaired

    def save(self, folder: str | Path) -> Path:
        """Write what `thumbline evaluate` writes: report, metrics, scored rows, model card.

        Args:
            folder: Where to; files of the same names are replaced.

        Returns:
            The report's page.

        Raises:
            InputError: The folder cannot be made.
        """
        from ..evaluation.outcome import write_outcome

        write_outcome(self._outcome, Path(folder), f"{_ORIGIN}(...)")
        return Path(folder) / "report.html"

    def _headline(self, name: str) -> Estimate | None:
        from ..report.evaluation_facts import HEADLINES

        headline = next(one for one in HEADLINES if one.name == name)
        row = self._facts.headline(headline, self.model)
        return None if row is None else _estimate(row)

    def __repr__(self) -> str:
        """The verdict."""
        return f"<thumbline.Evaluation: {self.verdict}>"

    def _repr_html_(self) -> str:
        """The verdict, and the numbers that the report shows first."""
        rows = [
            (
                row.model + (f" against {row.compared_with}" if row.compared_with else ""),
                row.metric + (f"@{row.judge}" if row.judge else ""),
                str(_estimate(row)),
                row.n,
            )
            for row in self._numbers
        ]
        return view.page(
            view.paragraph(self.verdict, strong=True), view.table(("model", "metric", "value", "rows"), rows)
        )


def _estimate(row: "Metric") -> Estimate:
    return Estimate(row.value, row.ci_low, row.ci_high, row.n, row.n_groups, row.unit, row.reason)


def evaluate(
    scored: str | Path | Run | Table | None = None,
    *,
    unpaired: str | Path | Table | None = None,
    beta: float | None = None,
    reward: str | None = None,
    draws: int | None = None,
    confidence: float | None = None,
    seed: int | None = None,
    baseline: str | None = None,
    slices: str | Sequence[str] = (),
) -> Evaluation:
    """Metrics with intervals, and a verdict, of scored rows or of a run.

        result = thumbline.evaluate("runs/quickstart")
        print(result.verdict, result.accuracy)

        result = thumbline.evaluate(frame, slices=["language"])  # policy_chosen_logps, ..., chosen_token_count, ...
        result.metrics, result.accuracy.low, result.save("evaluation")

    Args:
        scored: Scored pairs or unpaired rows, as a frame of any library or a Parquet file (`thumbline tables
            scored_pairs` names the columns); a run, its folder, or what an evaluation wrote.
        unpaired: Scored unpaired rows beside scored pairs.
        beta: Scale of a reward; None: the run's own, else 0.1.
        reward: implicit, mean_implicit, sum_logps or mean_logps; None: what the rows allow.
        draws: Resamples of prompt groups an interval; None: the run's own, else 1000.
        confidence: Mass of an interval; None: the run's own, else 0.95.
        seed: Draws the resamples; None: the run's own, else 0.
        baseline: Name of the model that others are compared with.
        slices: Columns to evaluate apart; one may be given by its name alone.

    Raises:
        ConfigError: A choice is out of range.
        InputError: There are no scored rows, or they cannot be evaluated.
    """
    from ..evaluation.outcome import Choices, check_choices, evaluate_subject, report_inputs

    check_numbers(beta=beta, confidence=confidence)
    check_whole(draws=draws, seed=seed)
    check_texts(reward=reward, baseline=baseline)
    choices = Choices(beta, reward, draws, confidence, seed, baseline)
    check_choices(choices)
    columns = (slices,) if isinstance(slices, str) else texts_of(slices=slices)
    outcome = evaluate_subject(_subject(scored, unpaired, columns), choices)
    return Evaluation(outcome, report_inputs(outcome, f"{_ORIGIN}(...)"))


def _subject(
    scored: str | Path | Run | Table | None, unpaired: str | Path | Table | None, slices: tuple[str, ...]
) -> "Subject":
    from ..evaluation.stored import read_subject, run_folder
    from ..evaluation.subject import of_frames

    location = scored.folder if isinstance(scored, Run) else scored
    if isinstance(location, str | Path) and unpaired is None:
        return read_subject(str(location), slices)
    if isinstance(location, str | Path) and (run_folder(str(location)) is not None or Path(location).is_dir()):
        raise InputError(f"{location}: a run has unpaired rows of its own; give scored pairs beside `unpaired`.")
    rows = {}
    for given, wanted in ((location, None), (unpaired, "unpaired")):
        if given is not None:
            frame = _frame(given)
            rows[_kind(frame, wanted)] = frame
    if not rows:
        raise InputError("nothing to evaluate: give scored pairs, `unpaired` rows, or a run.")
    return of_frames(rows, "rows", slices)


def _frame(given: str | Path | Table) -> pl.DataFrame:
    from ..storage.parquet import read_parquet

    return read_parquet(Path(given)) if isinstance(given, str | Path) else as_frame(given)


def _kind(frame: pl.DataFrame, wanted: str | None) -> str:
    from ..evaluation.judged_layouts import judged_layout
    from ..evaluation.subject import kind_of

    kind = kind_of(frame.columns)
    if kind is None or (wanted is not None and kind != wanted):
        columns = ", ".join(frame.columns)
        if wanted is None and judged_layout(frame.columns) is not None:
            raise InputError(f"these are judged pairs (columns {columns}): thumbline.ratings rates their models.")
        raise InputError(
            f"no scored {wanted or 'pairs or unpaired'} rows: policy_chosen_logps marks pairs, "
            f"policy_logps unpaired rows; the columns are {columns}. `thumbline tables scored_pairs` lists all."
        )
    return kind

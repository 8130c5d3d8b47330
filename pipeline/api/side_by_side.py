"""Methods side by side, and what annotations are worth, from Python."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from ..errors import ConfigError, unknown_name
from . import view
from .runs import Run, configured, load
from .settings import sections_of

if TYPE_CHECKING:
    # Imported where they are used: `import thumbline` should not wait for what is not called.
    from ..side_by_side import ArmTrial, Curve, Outcome, Plan
    from ..side_by_side.words import Entry

_COMPARE: Final = "thumbline.compare_methods"
_CURVE: Final = "thumbline.annotation_curve"


class Comparison:
    """A comparison of methods that is done.

    Attributes:
        folder: Where it lies.
        page: What a person opens; `methods.md` beside it is the same for a README.
        verdict: Which methods differ from the baseline by more than noise, in what decides.
        notes: What to beware of.
        costs: One row a method as the page shows it: what it needs and what it took.
        preferences: One row a method as the page shows it: what held-out pairs and thumbs say.
        answers: The same of sampled answers; no rows where none were sampled.
        trials: One row a method and seed: what became of it, what it took, its measures with intervals.
        differences: One row a measure and method, less the baseline: difference, interval, corrected p-value.
    """

    def __init__(self, outcome: "Outcome") -> None:
        """Say what was found."""
        from ..side_by_side.outcome import trial_table
        from ..side_by_side.page import PAGE
        from ..side_by_side.words import ANSWERS, PREFERENCES, cost_rows, measure_rows, notes, verdict

        self.folder = outcome.plan.output
        self.page = self.folder / PAGE
        self.verdict, self.notes = verdict(outcome), notes(outcome)
        self.costs = _frame(cost_rows(outcome))
        self.preferences = _frame(measure_rows(outcome, PREFERENCES))
        self.answers = _frame(measure_rows(outcome, ANSWERS))
        self.trials = trial_table(outcome)
        self.differences = _differences(outcome)

    def run(self, method: str, seed: int | None = None) -> Run:
        """A method's run: its tables, its metrics; its model where models were kept.

        Args:
            method: Its name.
            seed: Of the trial; None: the first.

        Raises:
            ConfigError: It was not compared, or not with this seed.
        """
        own = self.trials.filter(pl.col("method") == method)
        if own.is_empty():
            raise ConfigError(f"{_COMPARE}: {unknown_name('method', method, self.trials['method'].unique().to_list())}")
        own = own if seed is None else own.filter(pl.col("seed") == seed)
        if own.is_empty():
            seeds = ", ".join(map(str, self.trials["seed"].unique().sort()))
            raise ConfigError(f"{_COMPARE}: {method} was trained with seeds {seeds}, not with {seed}.")
        return load(self.folder / "trials" / own["trial"][0])

    def __repr__(self) -> str:
        """The verdict."""
        return f"<thumbline.Comparison: {self.verdict}>"

    def _repr_html_(self) -> str:
        """Verdict, tables and notes."""
        return view.page(
            view.paragraph(self.verdict, strong=True),
            *(view.frame(one) for one in (self.costs, self.preferences, self.answers) if one.height),
            *map(view.paragraph, self.notes),
        )


class AnnotationCurve:
    """A curve over annotations that is done.

    Attributes:
        folder: Where it lies.
        page: What a person opens; `annotations.md` beside it is the same for a README.
        answer: Whether this log supports that thumbs do with half the effort what pairs do: `supported`,
            `not supported`, or `cannot tell`.
        verdict: The same in a sentence, with what it rests on.
        notes: What to beware of.
        grid: One row an arm as the page shows it: rows, annotations, and what decides.
        trials: One row an arm and seed.
    """

    def __init__(self, curve: "Curve") -> None:
        """Say what was found."""
        from ..side_by_side.curve_outcome import trial_table
        from ..side_by_side.curve_page import PAGE, curve_notes, curve_verdict, grid_rows

        self.folder = curve.plan.output
        self.page = self.folder / PAGE
        self.answer, self.verdict, self.notes = str(curve.answer), curve_verdict(curve), curve_notes(curve)
        self.grid = _frame(grid_rows(curve))
        self.trials = trial_table(curve)

    def __repr__(self) -> str:
        """The verdict."""
        return f"<thumbline.AnnotationCurve: {self.verdict}>"

    def _repr_html_(self) -> str:
        """Verdict, grid and notes."""
        return view.page(
            view.paragraph(self.verdict, strong=True), view.frame(self.grid), *map(view.paragraph, self.notes)
        )


def compare_methods(
    config: str | Path | Mapping[str, Any],
    methods: Sequence[str] | None = None,
    *,
    seeds: Sequence[int] | None = None,
    baseline: str | None = None,
    tokens: int | None = None,
    changes: Mapping[str, Mapping[str, Any]] | None = None,
    output: str | Path | None = None,
    keep: str = "none",
    retry: bool = False,
    **settings: Any,
) -> Comparison:
    """Train methods on the same splits, model, reference and number of tokens, as `thumbline compare-methods` does.

        result = thumbline.compare_methods("my_run.yaml", ["dpo", "kto", "ppo"], seeds=[0, 1, 2])
        print(result.verdict, result.differences, result.run("kto").metrics)

    Args:
        config: A run file, or its content as a mapping; then `name` must be in it.
        methods: Names of methods; None: SFT, DPO, IPO, KTO, ORPO, SimPO, and RLHF where the run has a thumbs model.
        seeds: `train.seed` of every method's trials; None: the run's own.
        baseline: The method that others are compared with; None: `dpo`, or the first.
        tokens: Completion tokens that each trains on; None: as many as the baseline takes by the run file.
        changes: Settings below `train` for single methods: `{"simpo": {"learning_rate": 1e-6}}`.
        output: Folder of the comparison; None: that of the run with `-methods` after its name.
        keep: Trained models that stay on disk: `none`, or `all`.
        retry: Try again the trials that failed.
        settings: Over those of `config`, for all methods: sections (`train={...}`) or dotted keys.

    Raises:
        PipelineError: A method is unknown or cannot be trained so, or every trial failed.
    """
    from ..side_by_side import outcome_of, plan_methods, write_outcome

    plan = plan_methods(
        configured(config, sections_of(settings, _COMPARE), _COMPARE),
        methods,
        seeds=seeds,
        baseline=baseline,
        tokens=tokens,
        changes=changes,
        output=None if output is None else Path(output),
        keep=keep,
    )
    command = f"{_COMPARE}(...)"
    outcome = outcome_of(plan, _trials(plan, command, retry=retry))
    write_outcome(outcome, command)
    return Comparison(outcome)


def annotation_curve(
    config: str | Path | Mapping[str, Any],
    grid: Sequence[int],
    *,
    seeds: Sequence[int] | None = None,
    within: float = 0.02,
    output: str | Path | None = None,
    keep: str = "none",
    retry: bool = False,
    **settings: Any,
) -> AnnotationCurve:
    """Train DPO on n pairs and KTO on n and n / 2 thumbs over a grid of n, as `thumbline annotation-curve` does.

        result = thumbline.annotation_curve("my_run.yaml", [50, 100, 200], seeds=[0, 1, 2])
        print(result.answer, result.verdict)

    Args:
        config: A run file, or its content as a mapping; then `name` must be in it.
        grid: Numbers of pairs, each at least 2.
        seeds: Each draws other rows and another order; None: the run's own.
        within: How much worse is still as good: a share of pairs, or of comparisons won.
        output: Folder of the curve; None: that of the run with `-annotations` after its name.
        keep: Trained models that stay on disk: `none`, or `all`.
        retry: Try again the trials that failed.
        settings: Over those of `config`: sections (`train={...}`) or dotted keys.

    Raises:
        PipelineError: The grid asks for more rows than there are, a setting does not hold, or every trial failed.
    """
    from ..side_by_side import check_rows, curve_of, plan_curve, write_curve

    plan = plan_curve(
        configured(config, sections_of(settings, _CURVE), _CURVE),
        grid,
        seeds=seeds,
        output=None if output is None else Path(output),
        keep=keep,
    )
    command = f"{_CURVE}(...)"
    curve = curve_of(plan, _trials(plan, command, retry=retry, check=check_rows), within)
    write_curve(curve, command)
    return AnnotationCurve(curve)


def _trials(plan: "Plan", command: str, *, retry: bool, check: Any = lambda _: None) -> "list[ArmTrial]":
    from ..context import SilentReporter
    from ..side_by_side import ArmTrial, run_arms

    steps = run_arms(plan, SilentReporter(), command, retry=retry, check=check)
    return [step for step in steps if isinstance(step, ArmTrial)]


def _frame(rows: "list[dict[str, Entry]]") -> pl.DataFrame:
    """Entries as text, what stands below them behind it in brackets."""
    return pl.DataFrame(
        [{name: f"{one.text} [{one.more}]" if one.more else one.text for name, one in row.items()} for row in rows]
    )


def _differences(outcome: "Outcome") -> pl.DataFrame:
    from ..side_by_side.outcome import is_clear

    rows = [
        {"measure": measure, "method": arm}
        | {key: value for key, value in cell.comparison._asdict().items() if key != "other"}
        | {"more_than_noise": is_clear(cell.comparison, outcome.confidence)}
        for measure, cells in outcome.table.items()
        for arm, cell in cells.items()
        if cell.comparison is not None
    ]
    return pl.DataFrame(rows, infer_schema_length=None)

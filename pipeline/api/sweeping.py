"""One run trained under many settings, from Python."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from ..errors import ConfigError
from . import view
from .arguments import check_paths, require_texts
from .runs import Run, configured, load
from .settings import sections_of

if TYPE_CHECKING:
    # Imported where they are used: `import thumbline` should not wait for what is not called.
    from ..sweep import Outcome

_ORIGIN: Final = "thumbline.sweep"


class Sweep:
    """A sweep that is done.

    Attributes:
        folder: Where it lies.
        values: What the best setting sets, by dotted key.
        verdict: Which setting is best on the validation split, and whether by more than noise.
        tested: Its number on the test split, which was looked at for it alone; None where the run keeps no such rows.
        notes: What to beware of.
        settings: One row a setting as the page shows it, the best first.
        trials: One row a trial: its values, what became of it, its measures with intervals.
        comparisons: The best setting less each other one: difference, interval, corrected p-value, interval over seeds.
    """

    def __init__(self, outcome: "Outcome") -> None:
        """Say what was found."""
        from ..sweep import trial_table
        from ..sweep.measures import MEASURES
        from ..sweep.words import final_text, notes, setting_rows, verdict

        self.folder = outcome.plan.output
        self.values = dict(outcome.best.values)
        self.verdict, self.tested, self.notes = verdict(outcome), final_text(outcome), notes(outcome)
        self.settings = pl.DataFrame(setting_rows(outcome, list(MEASURES)))
        self.trials = trial_table(outcome)
        self.comparisons = pl.DataFrame([one._asdict() for one in outcome.comparisons], infer_schema_length=None)

    @property
    def best(self) -> Run:
        """The best setting's run: its model, its metrics of the test split, its report."""
        from ..sweep import BEST

        return load(self.folder / BEST)

    @property
    def config(self) -> Path:
        """The best setting's run file."""
        from ..sweep import BEST_FILE

        return self.folder / BEST_FILE

    def __repr__(self) -> str:
        """The verdict."""
        return f"<thumbline.Sweep: {self.verdict}>"

    def _repr_html_(self) -> str:
        """Verdict, settings and notes."""
        return view.page(
            view.paragraph(self.verdict, strong=True),
            view.paragraph(self.tested) if self.tested else "",
            view.frame(self.settings),
            *map(view.paragraph, self.notes),
        )


def sweep(
    config: str | Path | Mapping[str, Any],
    over: Mapping[str, Sequence[Any]],
    *,
    seeds: Sequence[int] | None = None,
    metric: str = "auto",
    output: str | Path | None = None,
    keep: str = "best",
    retry: bool = False,
    **settings: Any,
) -> Sweep:
    """Train a run under every combination of settings, over one stored reference, as `thumbline sweep` does.

        result = thumbline.sweep("my_run.yaml", {"train.loss.beta": [0.05, 0.1, 0.3]}, seeds=[0, 1, 2])
        print(result.verdict, result.tested, result.best.model)

    Args:
        config: A run file, or its content as a mapping; then `name` must be in it.
        over: The values of each setting of training that varies, by dotted key.
        seeds: `train.seed` of every setting's trials; None: the run's own.
        metric: accuracy, auc, margin or loss of the validation split, by which is chosen; win_rate of sampled answers;
            `frontier`: the cheapest setting whose answers are surely better; `auto`: accuracy or auc.
        output: Folder of the sweep; None: that of the run with `-sweep` after its name.
        keep: Trained models that stay on disk: `best`, or `all`.
        retry: Try again the trials that failed.
        settings: Over those of `config`, for all trials: sections (`train={...}`) or dotted keys.

    Raises:
        PipelineError: A key may not vary, a value does not hold, or every trial failed.
    """
    from ..sweep import Axis, Outcome, plan_sweep, run_sweep, write_outcome

    require_texts(metric=metric, keep=keep)
    check_paths(output=output)
    if not isinstance(over, Mapping):
        raise ConfigError(f"over has to be a mapping of dotted keys to lists of values, not a {type(over).__name__}.")
    loaded = configured(config, sections_of(settings, _ORIGIN), _ORIGIN)
    plan = plan_sweep(
        loaded,
        [Axis(key, tuple(values)) for key, values in over.items()],
        seeds=seeds,
        metric=metric,
        output=None if output is None else Path(output),
        keep=keep,
    )
    command = f"{_ORIGIN}(...)"
    *_, outcome = run_sweep(plan, command=command, retry=retry)
    assert isinstance(outcome, Outcome), "a sweep ends with its outcome"
    write_outcome(outcome, command)
    return Sweep(outcome)

"""A sweep, from the start or from where it was: shared stages once, trials one by one, the best on the test split."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import yaml

from ..config import RunConfig
from ..context import Reporter, SilentReporter
from ..errors import ConfigError, TrainingError
from ..line import Finished, locked, run, select
from ..storage.files import make_folder, write_text
from ..storage.tables import read_table
from ..training.methods import main_method
from .choosing import SettingResult, best_of, ranked, result_of
from .comparing import compare_best
from .grid import described
from .outcome import FinalResult, Outcome
from .plan import BASE, BEST, LAST_SHARED, TRIALS, Plan, Setting
from .trials import TrialResult, drop_model, run_trial

BEST_FILE: Final = "best.yaml"


class Done(NamedTuple):
    """A stage that was done for all trials, or for the best setting.

    Attributes:
        part: `base` or `best`.
        finished: What happened to it.
    """

    part: str
    finished: Finished


Step: TypeAlias = Done | TrialResult | Outcome


def run_sweep(
    plan: Plan, *, reporter: Reporter | None = None, command: str = "", retry: bool = False
) -> Iterator[Step]:
    """Run a sweep, yielding each stage and trial as it is done, and the outcome last.

    What is done is found again: killed anywhere, the same call goes on. A trial that fails is recorded, and the others
    go on.

    Args:
        plan: What to do.
        reporter: Where progress goes.
        command: The command line, kept with each run.
        retry: Try failed trials again.

    Raises:
        PipelineError: What the shared stages say, or that every trial failed.
    """
    reporter = reporter or SilentReporter()
    make_folder(plan.output / TRIALS)
    with locked(plan.output):
        source = Path(plan.config.runs) / plan.config.name
        for finished in run(plan.base, select(None, LAST_SHARED), reporter=reporter, command=command, source=source):
            yield Done(BASE, finished)
        _check_held_out(plan)
        results: list[SettingResult] = []
        for setting in plan.settings:
            done: list[TrialResult] = []
            for trial in setting.trials:
                done.append(run_trial(trial, plan.base.run_dir, reporter, command, retry=retry))
                yield done[-1]
            results.append(result_of(setting, done))
            _drop_models(plan, results)
        best = best_of(plan, results)
        if best is None:
            raise TrainingError(_why_no_best(plan, results))
        yield from _finish(plan, results, best.setting, reporter, command)


def _check_held_out(plan: Plan) -> None:
    """Refuse a validation split without the rows that the measure is of, before anything is trained."""
    folder = plan.base.run_dir
    splits = read_table(folder / "splits" / "splits.parquet", "splits", ["prompt_id", "split"])
    held_out = splits.filter(splits["split"] == "validation")
    kinds = {"accuracy": "pairs", "margin": "pairs", "auc": "unpaired"}
    kind = kinds.get(plan.measure.name) or main_method(plan.base.train).spec.rows
    rows = read_table(folder / kind / f"{kind}.parquet", kind, ["prompt_id"])
    if rows.join(held_out, on="prompt_id", how="semi").is_empty():
        other = "auc" if kind == "pairs" else "accuracy"
        raise ConfigError(
            f"sweep: the validation split holds no {'pair' if kind == 'pairs' else 'unpaired row'} to choose by; raise "
            f"splits.validation (now {plan.config.splits.validation:g}), or choose by --metric {other}."
        )


def _drop_models(plan: Plan, results: list[SettingResult]) -> None:
    """Delete the models that cannot be the best one's any more, where they are not to be kept."""
    if plan.keep == "all":
        return
    best = best_of(plan, results)
    for result in results:
        first, *others = result.setting.trials
        for trial in others if best is result else (first, *others):
            drop_model(trial.config)


def _finish(
    plan: Plan, results: list[SettingResult], best: Setting, reporter: Reporter, command: str
) -> Iterator[Step]:
    """Compare, write the best setting's run file, evaluate it on the test split, and yield the outcome."""
    done = [result.setting for result in results if result.averages[plan.measure.name] is not None]
    comparisons = compare_best(done, best, plan.measure)
    config = plan.best(best)
    write_text(plan.output / BEST_FILE, run_file(config, f"{described(best.values)}: the best of {len(plan.settings)}"))
    last = "report" if config.splits.test > 0 or config.metrics.split != "test" else "train"
    source = best.trials[0].config.run_dir
    for finished in run(config, select(None, last), reporter=reporter, command=command, source=source):
        yield Done(BEST, finished)
    tested = FinalResult.of_run(config) if last == "report" else None
    yield Outcome(plan, tuple(ranked(plan, results)), best, tuple(comparisons), tested)


def run_file(config: RunConfig, title: str) -> str:
    """A run file that says what `config` says, with what its own file did not say left out."""
    document = config.model_dump(mode="json", exclude_unset=True)
    return f"# {title}\n" + yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def _why_no_best(plan: Plan, results: list[SettingResult]) -> str:
    errors = [(result.setting.name, error) for result in results for error in result.errors]
    if not errors:
        return f"sweep: no setting has a {plan.measure.name} on the validation split; see its rows in {plan.output}."
    name, first = errors[0]
    return (
        f"sweep: no setting was trained with every seed: {len(errors)} of {len(plan.trials)} trials failed. The first, "
        f"{name}: {first}"
    )

"""A sweep, from the start or from where it was: shared stages once, trials one by one, the best on the test split."""

from collections.abc import Iterator
from typing import Final, TypeAlias

import polars as pl
import yaml

from ..config import RunConfig
from ..context import Reporter, SilentReporter
from ..errors import ConfigError, TrainingError
from ..hiding import with_named_secrets
from ..line import locked, run, select
from ..storage.files import make_folder, remove_temporary, write_text
from ..storage.tables import read_table
from ..training.methods import main_method
from .choosing import SettingResult, best_of, ranked, result_of
from .comparing import compare_best
from .grid import described
from .outcome import FinalResult, Outcome
from .plan import BEST, TRIALS, Plan, Setting
from .shared import Done, check_shared, run_shared
from .trials import TrialResult, drop_model, run_trial

BEST_FILE: Final = "best.yaml"


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
    check_shared(plan)
    make_folder(plan.output / TRIALS)
    with locked(plan.output):
        remove_temporary(plan.output)
        yield from run_shared(plan, reporter, command)
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
    """Refuse a validation split that cannot give the measure, before anything is trained.

    Raises:
        ConfigError: It holds no row with token ids of the kind that the measure is of, or of one label alone.
    """
    wanted = {"accuracy": "pairs", "margin": "pairs", "auc": "unpaired"}
    kind = wanted.get(plan.measure.name) or main_method(plan.base.train).spec.rows
    rows = _held_out(plan.base, kind)
    lacks = "" if rows.height else "pair" if kind == "pairs" else "unpaired row"
    if not lacks and plan.measure.name == "auc" and rows["label"].n_unique() < 2:
        lacks = f"{'undesirable' if rows['label'][0] else 'desirable'} row"
    if lacks:
        share, tokens = plan.config.splits.validation, plan.config.sequences.max_tokens
        raise ConfigError(
            f"sweep: the validation split holds no {lacks} with token ids to choose by {plan.measure.name}. Raise "
            f"splits.validation (now {share:g}); or sequences.max_tokens (now {tokens}), where "
            f"`thumbline status {plan.base.run_dir}` shows that many rows are too long; or choose by --metric "
            f"{'auc' if kind == 'pairs' else 'accuracy'}."
        )


def _held_out(base: RunConfig, kind: str) -> pl.DataFrame:
    """The rows of the validation split that will be scored: those whose answers have token ids."""
    columns = {"pairs": ["chosen_response_id", "rejected_response_id"], "unpaired": ["response_id", "label"]}[kind]
    sequences = read_table(base.run_dir / "sequences" / "row_sequences.parquet", "row_sequences")
    scored = sequences.filter((pl.col("split") == "validation") & (pl.col("role") == "matched"))["response_id"]
    rows = read_table(base.run_dir / kind / f"{kind}.parquet", kind, columns)
    return rows.filter(*(pl.col(name).is_in(scored.implode()) for name in columns if name.endswith("response_id")))


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
    """A run file that says what `config` says, with what its own file did not say, and secrets, left out."""
    document = with_named_secrets(config.model_dump(mode="json", exclude_unset=True))
    return f"# {title}\n" + yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def _why_no_best(plan: Plan, results: list[SettingResult]) -> str:
    errors = [(result.setting.name, error) for result in results for error in result.errors]
    if not errors:
        return (
            f"sweep: {plan.measure.title.lower()} has no value on the validation split; see metrics in {plan.output}."
        )
    name, first = errors[0]
    return (
        f"sweep: no setting was trained with every seed: {len(errors)} of {len(plan.trials)} trials failed. The first, "
        f"{name}: {first}"
    )

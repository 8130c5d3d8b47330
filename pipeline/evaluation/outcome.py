"""Scored rows to metrics, report and the files that say them to people, programs and the hub."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl

from thumbline.evaluators import EvaluationError, EvaluationSettings, evaluate
from thumbline.evaluators.rewards import RewardKind

from ..errors import ConfigError, InputError, unknown_name
from ..report import ReportInputs, Summary, report_files, summary
from ..report.run_facts import versions, write_files
from ..storage.files import make_folder, remove_temporary
from ..storage.parquet import write_parquet
from ..storage.set_aside import aside, set_aside
from ..storage.sums import forget_sums, write_sums
from ..storage.tables import write_table
from .answers import ANSWER_COLUMNS, answer_metrics
from .subject import UNTRAINED, Subject

_DEFAULT_BETA: Final = 0.1
_logger = logging.getLogger(__name__)


class Choices(NamedTuple):
    """What a user decides about an evaluation; None leaves it to what the rows say.

    Attributes:
        beta: Scale of a reward.
        reward: What a reward is.
        draws: Resamples of prompt groups an interval.
        confidence: Mass of an interval.
        seed: Draws the resamples.
        baseline: The model that others are compared with.
    """

    beta: float | None = None
    reward: str | None = None
    draws: int | None = None
    confidence: float | None = None
    seed: int | None = None
    baseline: str | None = None


class Outcome(NamedTuple):
    """An evaluation.

    Attributes:
        subject: What was evaluated.
        settings: How.
        metrics: Table `metrics`.
    """

    subject: Subject
    settings: EvaluationSettings
    metrics: pl.DataFrame

    def judged(self) -> list[str]:
        """Names of the models that are judged: all but the one that they are compared with."""
        names = self.subject.model_names()
        return [name for name in names if name != self.settings.baseline] or names


def check_choices(choices: Choices) -> None:
    """Refuse a choice that is out of range, before rows are read or scored.

    Raises:
        ConfigError: The message names each setting, its value and its range.
    """
    chosen_settings(choices, EvaluationSettings())


def settings_of(subject: Subject, choices: Choices) -> EvaluationSettings:
    """The evaluators' settings: what the user decides, else what the rows and their run say, else the defaults.

    Raises:
        ConfigError: A value is out of range, or the baseline is none of the models.
    """
    names = subject.model_names()
    if choices.baseline is not None and choices.baseline not in names:
        raise ConfigError(f"--baseline: {unknown_name('model', choices.baseline, names)}")
    said = EvaluationSettings(
        beta=_DEFAULT_BETA if subject.beta is None else subject.beta,
        reward=subject.reward or "implicit",
        baseline=subject.baseline or UNTRAINED,
        slice_columns=subject.slices,
    )
    if subject.config is not None:
        own = subject.config.metrics
        said = dataclasses.replace(
            said,
            bootstrap_draws=own.bootstrap_draws,
            confidence=own.confidence,
            seed=own.seed,
            reference_answers=own.reference_models,
            least_effective_groups=own.least_effective_groups,
            clip_weights=own.clip_weights,
            calibration=subject.config.thumbs.calibration,
            most_outside=own.most_outside,
        )
    return chosen_settings(choices, said)


def chosen_settings(choices: Choices, said: EvaluationSettings) -> EvaluationSettings:
    """`said` with the user's choices over it.

    Raises:
        ConfigError: A value is out of range.
    """
    chosen: dict[str, Any] = {
        "beta": choices.beta,
        "reward": choices.reward,
        "bootstrap_draws": choices.draws,
        "confidence": choices.confidence,
        "seed": choices.seed,
        "baseline": choices.baseline,
    }
    try:
        return dataclasses.replace(said, **{name: value for name, value in chosen.items() if value is not None})
    except EvaluationError as error:
        raise ConfigError(str(error)) from error


def evaluate_subject(
    subject: Subject, choices: Choices, names: Sequence[str] | None = None, *, with_answers: bool = False
) -> Outcome:
    """Metrics of a subject's rows.

    Args:
        subject: What is evaluated.
        choices: What the user decides.
        names: Evaluators of scored rows to run; None for all, and those of sampled answers with them.
        with_answers: Whether sampled answers are evaluated beside the evaluators that are named.

    Raises:
        ConfigError: A choice does not hold.
        InputError: Its rows cannot be evaluated.
    """
    settings = settings_of(subject, choices)
    try:
        metrics = evaluate(subject.pairs, subject.unpaired, settings, names)
        if names is None or with_answers:
            metrics = pl.concat([metrics, answer_metrics(subject, settings)])
    except EvaluationError as error:
        raise InputError(f"{subject.name}: {error}") from error
    return Outcome(subject, settings, metrics)


def write_outcome(
    outcome: Outcome,
    output: Path,
    command: str,
    *,
    title: str | None = None,
    training_logs: Mapping[str, pl.DataFrame] | None = None,
) -> Summary:
    """Write metrics, scored rows, report and model card to the folder `output`; returns them in short.

    Args:
        outcome: The evaluation.
        output: A folder; files of the same names are replaced.
        command: The command line that made it, for the report.
        title: Heading of the report; None for the default.
        training_logs: Table `training_log` of several runs by the run's name, to be drawn side by side.

    Raises:
        InputError: The folder cannot be made.
    """
    make_folder(output)
    remove_temporary(output)
    forget_sums(output)
    _set_old_aside(outcome, output)
    write_table(output / "metrics.parquet", "metrics", outcome.metrics)
    tables = {f"scored_{kind}": frame for kind, frame in outcome.subject.rows().items()}
    if outcome.subject.config is None:
        # A run has them in its own folder.
        tables |= {name: outcome.subject.tables[name] for name in ANSWER_COLUMNS.keys() & outcome.subject.tables.keys()}
    for name, frame in tables.items():
        write_parquet(output / f"{name}.parquet", frame)
    inputs = dataclasses.replace(report_inputs(outcome, command, title), training_logs=training_logs or {})
    texts = report_files(inputs)
    write_files(output, texts)
    write_sums(output, ["metrics.parquet", *(f"{name}.parquet" for name in tables), *texts])
    return summary(inputs)


def _set_old_aside(outcome: Outcome, output: Path) -> None:
    """Put tables of an evaluation before this one aside that this one does not write: they are of other models."""
    if not (output / "metrics.json").is_file():
        return
    written = {f"scored_{kind}" for kind in outcome.subject.rows()}
    written |= set() if outcome.subject.config is not None else ANSWER_COLUMNS.keys() & outcome.subject.tables.keys()
    tables = sorted({"scored_pairs", "scored_unpaired", *ANSWER_COLUMNS} - written)
    moved = [f"{name}.parquet" for name in tables if set_aside(output / f"{name}.parquet")]
    if moved:
        _logger.warning(
            "%s: %s of the evaluation before is kept as %s",
            output,
            ", ".join(moved),
            ", ".join(str(aside(Path(name))) for name in moved),
        )


def report_inputs(outcome: Outcome, command: str, title: str | None = None) -> ReportInputs:
    """What the report of an evaluation is made from."""
    subject, settings = outcome.subject, outcome.settings
    scored = {f"scored_{kind}": _certain(frame) for kind, frame in subject.rows().items()}
    default = "thumbline evaluation" if subject.config is None else subject.config.report.title
    reward: RewardKind = settings.reward
    return ReportInputs(
        title=title or default,
        run_name=subject.name,
        command=command,
        generated_at=datetime.now(UTC).isoformat(timespec="seconds"),
        config=subject.config,
        manifests=subject.manifests,
        tables={**subject.tables, **scored, "metrics": outcome.metrics},
        versions=versions(),
        beta=settings.beta,
        reward=reward,
        confidence=settings.confidence,
        notes=subject.notes,
        answers=subject.tables.get("generations"),
        prompts=subject.tables.get("generation_prompts"),
        sources=subject.sources,
        models=subject.models,
        subject=subject.focus if subject.focus != settings.baseline else None,
        baseline=settings.baseline if settings.baseline in subject.model_names() else None,
        judges=subject.judges,
    )


def _certain(frame: pl.DataFrame) -> pl.DataFrame:
    """Scored pairs with a probability of their label: one without is taken at its word."""
    if "policy_chosen_logps" not in frame.columns or "chosen_better_probability" in frame.columns:
        return frame
    return frame.with_columns(chosen_better_probability=pl.lit(1.0))

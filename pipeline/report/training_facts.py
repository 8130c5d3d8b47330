"""What happened in training: whether the stored reference could be trusted, and how the curves went."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import polars as pl

from ..config import TrainConfig
from .formatting import count, words
from .inputs import Missing, ReportInputs

# Curves in the order in which a reader looks at them; metrics of other names follow by name.
_ORDER: Final = (
    "loss",
    "accuracy",
    "reward",
    "penalised_reward",
    "kl_k1",
    "kl_k3",
    "entropy",
    "clip_fraction",
    "value_loss",
    "answer_tokens",
    "ended_share",
    "reward_margin",
    "chosen_rewards",
    "rejected_rewards",
    "desirable_rewards",
    "undesirable_rewards",
    "reference_point",
    "reference_kl",
    "chosen_logps",
    "rejected_logps",
    "desirable_logps",
    "undesirable_logps",
    "learning_rate",
    "grad_norm",
)
# Notes that have a place of their own on the page.
_ELSEWHERE: Final = ("parity", "weights_of_step", "frontier")
_PHASES: Final = ("train", "validation")
_POINTS_A_CURVE: Final = 300
_PARITY_POINTS: Final = 1_000


class ParityPoint(NamedTuple):
    """One sequence of the parity gate: tokens, and two differences in nats."""

    token_count: int
    stored_difference: float
    batched_difference: float


class Detail(NamedTuple):
    """One fact about the training run."""

    name: str
    value: str


@dataclass(frozen=True)
class ParityFacts:
    """The parity gate: stored reference log-probs against the training engine's.

    Attributes:
        sequences: How many were compared.
        mean_difference: Mean absolute difference stored to training engine, nats a sequence.
        largest_difference: Its largest, nats.
        noise: Mean absolute difference of the training engine from itself, one row at a time to batched, nats.
        bound: What the mean difference had to stay below, nats; None where the settings are not known.
        passed: Whether it did; None where the bound is not known.
        points: The sequences, at most a thousand.
    """

    sequences: int
    mean_difference: float
    largest_difference: float
    noise: float
    bound: float | None
    passed: bool | None
    points: tuple[ParityPoint, ...]


@dataclass(frozen=True)
class Curve:
    """One metric over the optimiser steps, in one phase.

    Attributes:
        metric: Its name.
        phase: `train` or `validation`.
        run: The run that it is of, where several stand side by side; empty otherwise.
        steps: Optimiser steps; of a long curve the middle of each stretch.
        values: Values; of a long curve the mean of each stretch.
        points: How many values were logged.
        first: The first logged value.
        last: The last one.
        lowest: The lowest one.
        highest: The highest one.
    """

    metric: str
    phase: str
    steps: tuple[float, ...]
    values: tuple[float, ...]
    points: int
    first: float
    last: float
    lowest: float
    highest: float
    run: str = ""


@dataclass(frozen=True)
class TrainingFacts:
    """The section on training.

    Attributes:
        parity: The parity gate.
        curves: What was logged.
        details: What the stage noted of itself.
        taken_step: The step whose weights were taken, where that is not the last; None otherwise.
    """

    parity: ParityFacts | Missing
    curves: tuple[Curve, ...] | Missing
    details: tuple[Detail, ...]
    taken_step: int | None = None


def training_facts(inputs: ReportInputs) -> TrainingFacts:
    """Parity gate and curves of a run."""
    return TrainingFacts(
        parity=_parity(inputs), curves=_curves(inputs), details=_details(inputs), taken_step=_taken_step(inputs)
    )


def _taken_step(inputs: ReportInputs) -> int | None:
    manifest = inputs.manifests.get("train")
    taken = None if manifest is None else manifest.notes.get("weights_of_step")
    return taken if isinstance(taken, int) and manifest is not None and taken != manifest.notes.get("steps") else None


def _details(inputs: ReportInputs) -> tuple[Detail, ...]:
    """What the training stage noted about itself, but for the parity gate, which has a section of its own."""
    manifest = inputs.manifests.get("train")
    notes = {} if manifest is None else {key: value for key, value in manifest.notes.items() if key not in _ELSEWHERE}
    found = []
    for name, value in notes.items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        found += [Detail(" ".join(words(part) for part in (name, key) if part), _plain(part)) for key, part in parts]
    return tuple(found)


def _plain(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return count(value)
    return "none" if value is None else str(value)


def _parity(inputs: ReportInputs) -> ParityFacts | Missing:
    frame = inputs.table("parity")
    if frame is None:
        trained = "train" in inputs.manifests
        return Missing(
            "Nothing was compared: this method trains without a reference model, so it reads no stored log-probs."
            if trained
            else "Nothing was compared: no model was trained here."
        )
    differences = frame.select(
        "token_count",
        stored=pl.col("stored_logps") - pl.col("row_logps"),
        batched=pl.col("batched_logps") - pl.col("row_logps"),
    )
    absolute = differences.select(pl.col("stored", "batched").abs())
    mean, noise = (float(absolute[name].to_numpy().mean()) for name in ("stored", "batched"))
    tokens = float(frame["token_count"].to_numpy().mean())
    bound = None if inputs.config is None else _parity_bound(inputs.config.train, noise, tokens)
    return ParityFacts(
        sequences=frame.height,
        mean_difference=mean,
        largest_difference=float(absolute["stored"].to_numpy().max()),
        noise=noise,
        bound=bound,
        passed=None if bound is None else mean <= bound,
        points=tuple(ParityPoint(*row) for row in differences.head(_PARITY_POINTS).iter_rows()),
    )


def _parity_bound(config: TrainConfig, noise: float, tokens: float) -> float:
    return max(config.parity_floor * math.sqrt(tokens), config.parity_multiple * noise)


def _curves(inputs: ReportInputs) -> tuple[Curve, ...] | Missing:
    if inputs.training_logs:
        return _side_by_side(inputs.training_logs)
    frame = inputs.table("training_log")
    if frame is None:
        return Missing(
            "No step was logged in training."
            if "train" in inputs.manifests
            else "No model was trained here: the report is about finished log-probs."
        )
    parts = ((name, phase, _of(frame, name, phase)) for name in _in_order([frame]) for phase in _PHASES)
    return tuple(_curve(name, phase, rows) for name, phase, rows in parts if not rows.is_empty())


def _side_by_side(logs: Mapping[str, pl.DataFrame]) -> tuple[Curve, ...]:
    """A curve a run of each metric that several runs logged: of validation rows where all of them have those."""
    curves = []
    for name in _in_order(list(logs.values())):
        by_phase = {phase: {run: _of(log, name, phase) for run, log in logs.items()} for phase in _PHASES}
        sizes = {phase: sum(not rows.is_empty() for rows in found.values()) for phase, found in by_phase.items()}
        phase = "validation" if sizes["validation"] >= sizes["train"] else "train"
        if sizes[phase] >= min(2, len(logs)):
            found = [(run, rows) for run, rows in by_phase[phase].items() if not rows.is_empty()]
            curves += [_curve(name, phase, rows, run) for run, rows in found]
    return tuple(curves)


def _in_order(logs: Sequence[pl.DataFrame]) -> list[str]:
    names = {name for log in logs for name in log["metric"].unique().to_list()}
    return [name for name in _ORDER if name in names] + sorted(names - set(_ORDER))


def _of(log: pl.DataFrame, metric: str, phase: str) -> pl.DataFrame:
    return log.filter((pl.col("metric") == metric) & (pl.col("phase") == phase)).sort("step")


def _curve(metric: str, phase: str, rows: pl.DataFrame, run: str = "") -> Curve:
    values = rows["value"].to_list()
    stretch = -(-rows.height // _POINTS_A_CURVE)
    thinned = (
        rows.select("value", pl.col("step").cast(pl.Float64), place=pl.int_range(pl.len()) // stretch)
        .group_by("place", maintain_order=True)
        .agg(pl.col("step", "value").mean())
    )
    return Curve(
        metric=metric,
        phase=phase,
        steps=tuple(thinned["step"].to_list()),
        values=tuple(thinned["value"].to_list()),
        points=rows.height,
        first=values[0],
        last=values[-1],
        lowest=min(values),
        highest=max(values),
        run=run,
    )

"""The plan of a run: memory, time, which methods fit, and what to change where it does not."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import torch

from thumbline.losses import LOSSES, ROLLOUTS, Method, loss_method, loss_spec

from ..config import RunConfig
from ..errors import ConfigError
from ..training.methods import check_methods
from .advice import Tried, candidates, changed
from .copies import Copies, copies
from .estimate import Estimate, Kind, estimate
from .models import model_config
from .operations import Operations, operations
from .scoring import Scoring, scoring
from .tracing import Traces
from .work import Stated, any_work

_SEVENTY_BILLION: Final = 70e9


class Asked(NamedTuple):
    """What is planned for.

    Attributes:
        devices: Number of devices.
        memory: Bytes of each; None where it is not known, and nothing is said to fit.
        flops: Floating-point operations a second that each sustains; None where it is not known.
        device: Kind of device.
        stated: Lengths and rows, where the run has no tables.
    """

    devices: int = 1
    memory: float | None = None
    flops: float | None = None
    device: Kind = "cpu"
    stated: Stated = Stated()


class Fit(NamedTuple):
    """Whether a method fits with the run's other settings.

    Attributes:
        method: Its name.
        title: As papers write it.
        rows: What it trains on: `pairs`, `unpaired`, or `prompts`, to which it samples answers.
        needs_reference: Whether it takes log-probs of the reference: stored, or of answers as they are sampled.
        peak: Bytes of a device at most.
        fits: Whether that is in memory; None where memory is not known.
    """

    method: str
    title: str
    rows: str
    needs_reference: bool
    peak: float
    fits: bool | None


class Time(NamedTuple):
    """How long training takes; seconds are None where the devices' speed, and totals where the rows, are not known.

    Attributes:
        step_flops: Floating-point operations of a step, recomputation included.
        sampling_flops: Those of them that sample answers.
        scoring_flops: Those that score answers before the step's updates.
        token_flops: The same a token that the layers compute, over the number of parameters: 6 for all weights.
        step_tokens: Tokens that the layers compute a step.
        steps: Optimiser steps.
        step_seconds: Of all devices together.
        seconds: Of the run.
    """

    step_flops: float
    sampling_flops: float
    scoring_flops: float
    token_flops: float
    step_tokens: float
    steps: int | None
    step_seconds: float | None
    seconds: float | None


class Plan(NamedTuple):
    """What a run would take.

    Attributes:
        asked: What it is planned for.
        model: Its name.
        parameters: Of the model.
        trained: Parameters that are trained.
        lengths: Where lengths come from, in words.
        memory: Of training.
        scoring: Of vLLM's scoring.
        time: Of training.
        methods: Every method, with the run's other settings.
        copies: Models in memory by method, for this model and for one of 70 billion parameters.
        changes: What to change, where it does not fit; the last one fits, or none does.
    """

    asked: Asked
    model: str
    parameters: float
    trained: float
    lengths: str
    memory: Estimate
    scoring: Scoring
    time: Time
    methods: tuple[Fit, ...]
    copies: tuple[list[Copies], list[Copies]]
    changes: tuple[Tried, ...]

    @property
    def fits(self) -> bool | None:
        """Whether training fits in a device's memory; None where that is not known."""
        return None if self.asked.memory is None else self.memory.peak <= self.asked.memory


def plan(config: RunConfig, asked: Asked) -> Plan:
    """The plan of a run; no weights are read.

    Args:
        config: The run.
        asked: Devices, their memory and speed.

    Raises:
        InputError: The model's config cannot be had.
        ConfigError: The settings do not hold together.
        UntraceableError: The model's step hangs on values.
    """
    check_methods(config)
    if loss_spec(config.train.method).samples_answers and asked.devices > 1:
        raise ConfigError(
            f"plan: one process trains by {config.train.method}, which samples its own answers; leave --devices "
            f"{asked.devices} out, or plan a method on rows of the log (--set train.method=dpo)."
        )
    shape = model_config(config)
    traces = Traces(shape)
    with any_work(config, asked.stated, traces.layout(config.train)) as work:
        memory = estimate(traces, config.train, work, asked.device, asked.devices)
        done = operations(memory.trace, work)
        spent = _time(done, work.steps, memory.trace.counts["base"], asked)
        source = work.source
    counts = memory.trace.counts
    fits = None if asked.memory is None else memory.peak <= asked.memory
    return Plan(
        asked,
        config.model,
        counts["base"],
        counts["trained"],
        source,
        memory,
        scoring(shape, config, counts),
        spent,
        tuple(_methods(config, traces, asked, memory)),
        (copies(counts["base"], config.train), copies(_SEVENTY_BILLION, config.train)),
        tuple(_changes(config, traces, asked)) if fits is False else (),
    )


def _time(done: Operations, steps: int | None, parameters: float, asked: Asked) -> Time:
    flops, tokens = done.total, done.tokens
    seconds = None if asked.flops is None else flops / asked.flops / asked.devices
    total = None if seconds is None or steps is None else seconds * steps
    each = flops / tokens / parameters
    return Time(flops, done.sampling, done.scoring, each, tokens, steps, seconds, total)


def _methods(config: RunConfig, traces: Traces, asked: Asked, own: Estimate) -> Iterator[Fit]:
    """Methods alike in all that decides memory are estimated once; on several devices none samples answers."""
    own_model = config.train.rollouts.value_model == "thumbs"
    found: dict[tuple[bool, ...], float] = {_likeness(_as_set(config), own_model): own.peak}
    for name, spec in {**LOSSES, **(ROLLOUTS if asked.devices == 1 else {})}.items():
        method = loss_method(name, {})
        key = _likeness(method, own_model)
        if key not in found:
            found[key] = _peak(_with_method(config, method), traces, asked)
        fits = None if asked.memory is None else found[key] <= asked.memory
        yield Fit(name, spec.title, spec.data, spec.needs_reference, found[key], fits)


def _as_set(config: RunConfig) -> Method:
    return loss_method(config.train.method, config.train.loss)


def _likeness(method: Method, own_model: bool) -> tuple[bool, ...]:
    """What decides memory; a layer that predicts rewards is next to nothing, a model of its own is not."""
    unpaired, values = not method.spec.paired, own_model and bool(getattr(method.spec, "has_values", False))
    cut = (method.takes_whole_steps, method.needs_prompt_nll, unpaired and method.needs_mismatched)
    return (unpaired, *cut, method.spec.samples_answers, values)


def _with_method(config: RunConfig, method: Method) -> RunConfig:
    change: dict[str, Any] = {"train.method": method.name, "train.loss": {}, "train.also": []}
    change |= {"train.weighting": "none", "train.ld_alpha": 1.0}
    change |= dict.fromkeys(("train.ratio_floor", "train.ratio_ceiling", "train.reference_steps"))
    if method.takes_whole_steps:
        change |= {"train.micro_batch_rows": config.train.batch_rows, "train.micro_batch_tokens": None}
    return changed(config, change)


def _peak(config: RunConfig, traces: Traces, asked: Asked) -> float:
    with any_work(config, asked.stated, traces.layout(config.train)) as work:
        return estimate(traces, config.train, work, asked.device, asked.devices).peak


def _changes(config: RunConfig, traces: Traces, asked: Asked) -> Iterator[Tried]:
    """Changes on top of each other, until one fits."""
    assert asked.memory is not None
    made: dict[str, Any] = {}
    for change, why in candidates(config, asked.devices):
        made |= change
        devices = int(made.get("devices", asked.devices))
        try:
            peak = _peak(changed(config, made), traces, asked._replace(devices=devices))
        except ConfigError:
            # It does not go with the run's other settings.
            continue
        yield Tried(dict(change), why, peak, peak <= asked.memory)
        if peak <= asked.memory:
            return


def measured_flops(dtype: torch.dtype, seconds: float = 2.0, size: int = 2048) -> float:
    """Floating-point operations a second of a matrix product here: more than training sustains.

    Args:
        dtype: Type of the operands.
        seconds: How long to measure.
        size: Rows and columns.
    """
    place = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    left = torch.ones(size, size, dtype=dtype, device=place)
    float((left @ left).sum())
    started, products = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        # Read, so that a GPU has finished.
        float((left @ left)[0, 0])
        products += 1
    return products * 2.0 * size**3 / (time.perf_counter() - started)


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain values, for `json.dumps`."""
    memory = plan.memory
    return {
        "model": plan.model,
        "parameters": plan.parameters,
        "trained": plan.trained,
        "lengths": plan.lengths,
        "asked": plan.asked._asdict() | {"stated": plan.asked.stated._asdict()},
        "fits": plan.fits,
        "memory": {
            "peak": memory.peak,
            "peak_phase": memory.peak_phase,
            "way": memory.way,
            "layout": memory.trace.layout,
            "phases": {phase: _plain(peak) for phase, peak in memory.phases.items()},
        },
        "scoring": plan.scoring._asdict() | {"least": plan.scoring.least},
        "time": plan.time._asdict(),
        "methods": [fit._asdict() for fit in plan.methods],
        "models_in_memory": [[row._asdict() for row in table] for table in plan.copies],
        "changes": [tried._asdict() for tried in plan.changes],
    }


def _plain(peak: Mapping[str, float]) -> dict[str, float]:
    return {kind: value for kind, value in peak.items() if value}

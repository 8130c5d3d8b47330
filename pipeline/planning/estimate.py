"""Memory of one device in each phase of training, and what of it is shared out over several."""

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

import torch

from ..config import TrainConfig
from ..training.parallel.wrapping import Way, way_of
from .rollout_steps import sampling_engine
from .rollout_work import RolloutWork, Sampled
from .scoring import sequence_bytes, weight_bytes
from .tracing import KINDS, Trace, Traces
from .work import Work

GIB: Final = 2**30
# Held in equal shares where weights are shared out (FSDP2).
_SHARED_OUT: Final = ("weights", "adapter", "gradients", "optimizer")
# Held from one step to the next.
_AT_REST: Final = ("weights", "adapter", "reference", "optimizer")
# What comes and goes in every step, of which a C library keeps freed blocks for itself.
_COMES_AND_GOES: Final = ("gradients", "casts", "activations", "head", "sampling", "working")
# Measured on CPUs, over what the process held before (`python -m tests.benchmarks.bench_plan`): code and tables of the
# libraries that training loads, those of peft, and freed blocks that are kept, as a share of what comes and goes; in
# bfloat16 products pack their operands anew, and leave more of them.
_CPU_LIBRARIES: Final = 0.06 * GIB
_CPU_PEFT: Final = 0.10 * GIB
_CPU_KEPT: Final = {"float32": 0.12, "bfloat16": 0.25}
# In float32 an adapter's small gradients lie between a step's large blocks, and glibc keeps as much again; with
# MALLOC_MMAP_THRESHOLD_=1048576 in the environment it gives them back, for page faults in every step.
_CPU_KEPT_OF_ADAPTERS: Final = {"float32": 1.2, "bfloat16": 0.25}
# An allowance, not a measurement: CUDA's context, kernels and workspaces, and blocks that its allocator cannot use.
_CUDA_LIBRARIES: Final = 1.0 * GIB
_CUDA_KEPT: Final = 0.05
# Bytes a parameter of NF4 with its scales quantised once more: Dettmers et al., QLoRA (2023), section 3.
_NF4: Final = (4 + 0.127) / 8
# Bytes a parameter of 8-bit AdamW's two states, with a float32 scale for each block of 256 (bitsandbytes).
_EIGHT_BIT: Final = 2 * (1 + 4 / 256)
_ADAMW: Final = 8.0

# In the order in which they run.
_PHASES: Final = ("loading", "sampling", "scoring", "forward", "backward", "optimizer", "checkpoint")

Kind = Literal["cpu", "cuda"]


class Estimate(NamedTuple):
    """What training takes.

    Attributes:
        phases: For each phase, bytes of one device by kind, `libraries` and `kept` (freed blocks) among them.
        way: How the model lies on several devices.
        trace: The step that was run on shapes.
    """

    phases: Mapping[str, Mapping[str, float]]
    way: Way
    trace: Trace

    @property
    def peak_phase(self) -> str:
        """The phase that holds most."""
        return max(self.phases, key=lambda phase: sum(self.phases[phase].values()))

    @property
    def peak(self) -> float:
        """Bytes of one device at most."""
        return sum(self.phases[self.peak_phase].values())


def estimate(traces: Traces, train: TrainConfig, work: Work | RolloutWork, device: Kind, devices: int = 1) -> Estimate:
    """What training on `devices` devices takes of each.

    Args:
        traces: Steps of the model.
        train: Settings of training.
        work: The rows of its largest forward pass, or of its largest sampling.
        device: Kind of device.
        devices: Their number; rows of a step are shared among them.
    """
    config, sampled = traces.config, work.sampled if isinstance(work, RolloutWork) else None
    trace = (
        traces.rollouts(train, work, torch.device(device))
        if isinstance(work, RolloutWork)
        else traces.step(train, work.largest)
    )
    phases = {phase: _substituted(peak, phase, trace, train) for phase, peak in trace.peaks.items()}
    phases |= _outside_steps(config, phases, trace, device)
    way: Way = way_of(train.distributed, train.adapter) if devices > 1 else "none"
    if way == "fsdp":
        phases = {phase: _shared_out(peak, phase, trace, train, config, devices) for phase, peak in phases.items()}
    joined = _joined(phases)
    if sampled is not None:
        joined = _with_others(joined, trace, train, sampled, config)
    return Estimate({name: _with_libraries(peak, train, device) for name, peak in joined.items()}, way, trace)


def _substituted(peak: Mapping[str, float], phase: str, trace: Trace, train: TrainConfig) -> dict[str, float]:
    """The peak with what cannot be run on shapes: 8-bit states, and layers of 4-bit weights."""
    held = {kind: float(peak.get(kind, 0.0)) for kind in KINDS}
    counts = trace.counts
    if train.optimizer == "adamw_8bit":
        in_eight_bits = counts["trained"] - counts["embedding"]
        held["optimizer"] += in_eight_bits * (_EIGHT_BIT - _ADAMW)
    if train.weights == "nf4":
        held["weights"] -= counts["linear"] * (2 - _NF4)
        # A layer's weights are made again for each product.
        held["working"] += 2 * counts["largest_linear"] * (phase != "optimizer")
    return held


def _outside_steps(
    config: Any, phases: Mapping[str, Mapping[str, float]], trace: Trace, device: Kind
) -> dict[str, dict[str, float]]:
    """Phases outside a step: weights are read, and a checkpoint is written."""
    state = {kind: value for kind, value in phases["optimizer"].items() if kind in _AT_REST}
    weights = {kind: state[kind] for kind in ("weights", "adapter")}
    saved = getattr(config, "dtype", None) or torch.float32
    # The file is mapped into memory while it is read; a GPU gets one weight after the other.
    file = trace.counts["all"] * saved.itemsize if device == "cpu" else 0.0
    return {"loading": weights | {"working": file}, "checkpoint": state | {"working": 4 * trace.counts["largest"]}}


def _shared_out(
    peak: Mapping[str, float], phase: str, trace: Trace, train: TrainConfig, config: Any, devices: int
) -> dict[str, float]:
    """The peak on one of several devices under FSDP2: its shares, and what is gathered meanwhile.

    Embeddings, last norm and head are gathered while all runs; of the layers the one that runs and the next, in the
    type of the forward pass, so that autocast copies none of them.
    """
    held = {kind: value / devices if kind in _SHARED_OUT else value for kind, value in peak.items()}
    if phase.startswith(("forward", "backward")):
        counts = trace.counts
        width, multiplied = (4 if train.weights == "float32" else 2), (4 if train.dtype == "float32" else 2)
        layer = (counts["all"] - counts["root"]) / config.get_text_config().num_hidden_layers
        held["casts"] = 0.0
        held["gathered"] = width * counts["root"] + 2 * multiplied * layer
        if phase.startswith("backward") and train.adapter == "none":
            # Gradients of what is gathered are whole until each is sent where it belongs, in float32.
            held["gathered"] += width * counts["root"] + (multiplied + 4) * layer
    return held


def _joined(phases: Mapping[str, Mapping[str, float]]) -> dict[str, Mapping[str, float]]:
    """Parts of a phase (`backward 1`, `backward 2`) as one, the largest of them; in the order in which they run."""
    joined: dict[str, Mapping[str, float]] = {}
    for phase, peak in phases.items():
        name = phase.partition(" ")[0]
        if name not in joined or sum(peak.values()) > sum(joined[name].values()):
            joined[name] = peak
    return {name: joined[name] for name in _PHASES if name in joined}


def _with_others(
    phases: Mapping[str, Mapping[str, float]], trace: Trace, train: TrainConfig, sampled: Sampled, config: Any
) -> dict[str, Mapping[str, float]]:
    """The phases with the models that are held beside: the thumbs model, and vLLM's copy of the policy."""
    assert trace.scored is not None, "a trace of sampled answers"
    beside = {"thumbs": trace.scored.weights}
    if sampling_engine(train) == "vllm":
        longest = max(map(len, sampled.prompts)) + sampled.new_tokens
        in_flight = min(sampled.reference.max_num_seqs, len(sampled.prompts) * sampled.samples)
        cache = sequence_bytes(config.get_text_config(), longest, sampled.reference) * in_flight
        beside["engine"] = weight_bytes(sampled.reference, trace.counts) + cache
    # The thumbs model scores at another moment than the policy and the reference do.
    scoring = {kind: phases["optimizer"].get(kind, 0.0) for kind in _AT_REST} | {"activations": trace.scored.peak}
    largest = max(phases["scoring"], scoring, key=lambda peak: sum(peak.values()))
    return {
        phase: {**(largest if phase == "scoring" else peak), **({} if phase == "loading" else beside)}
        for phase, peak in phases.items()
    }


def _with_libraries(peak: Mapping[str, float], train: TrainConfig, device: Kind) -> dict[str, float]:
    turnover = sum(peak.get(kind, 0.0) for kind in _COMES_AND_GOES)
    if device == "cuda":
        return {**peak, "kept": turnover * _CUDA_KEPT, "libraries": _CUDA_LIBRARIES}
    if train.adapter == "none":
        return {**peak, "kept": turnover * _CPU_KEPT[train.dtype], "libraries": _CPU_LIBRARIES}
    kept = turnover * _CPU_KEPT_OF_ADAPTERS[train.dtype]
    return {**peak, "kept": kept, "libraries": _CPU_LIBRARIES + _CPU_PEFT}

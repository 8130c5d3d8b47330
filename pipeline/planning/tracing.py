"""One training step on shapes, by the very code that trains: what it holds in each phase, and what it computes.

Peaks and operations grow by the same amount with each layer, so a deep model is traced at two small depths, and the
line through both is followed to its own.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import torch

from ..config import TrainConfig
from ..errors import PipelineError
from ..training.goal import Goal
from ..training.layouts import Layout
from ..training.objective import objective_of
from ..training.optimizers import make_optimizer
from ..training.policy import Policy
from ..training.rollouts.objective import rollout_objective
from ..training.rows import Row
from ..training.step import take_step
from .ledger import Ledger
from .models import bare_policy, laid_out, meta_policy, with_layers
from .rollout_steps import RolloutSteps, Scored
from .rollout_work import RolloutWork
from .shapes import Shapes
from .watching import watched

# A model of no more layers than this is traced as it is.
_SHALLOW: Final = 6
# What a tensor is for, in the order in which it is shown.
KINDS: Final = (
    *("weights", "adapter", "reference", "gradients", "optimizer", "casts"),
    *("activations", "head", "sampling", "working"),
)
Numbers = Mapping[str, float]


class UntraceableError(PipelineError, RuntimeError):
    """A model whose step cannot be run on shapes, since values decide what it computes."""


class Trace(NamedTuple):
    """What a step of some rows would take.

    Attributes:
        peaks: For each phase, bytes by kind at its peak.
        flops: Floating-point operations of the step.
        tokens: That the model's layers compute in it, padding included.
        layout: How its sequences lie.
        counts: Numbers of parameters: `all`, `base` (without an adapter), `trained`, `linear` (in layers, which can be
            of 4 bits), `root` (outside the repeated layers), `largest` and `largest_linear` (of one weight),
            `embedding` (trained ones). What predicts rewards is not among them.
        before: Operations of what a step on sampled answers does before its updates, by part (`rollout_steps`).
        scored: What the thumbs model takes there; None where no answers are sampled.
    """

    peaks: Mapping[str, Numbers]
    flops: float
    tokens: int
    layout: Layout
    counts: Numbers
    before: Numbers
    scored: Scored | None = None


class Traces:
    """Steps of one model, each traced once."""

    def __init__(self, config: Any) -> None:
        """Trace nothing yet.

        Args:
            config: The model's.
        """
        self.config = config
        self._found: dict[str, Trace] = {}
        self._whole: dict[str, Policy] = {}

    def step(self, train: TrainConfig, rows: Sequence[Row]) -> Trace:
        """As `trace_step`.

        Args:
            train: All that decides how a step is taken.
            rows: A step's rows; the same wherever `train` is.
        """
        key = train.model_dump_json()
        if key not in self._found:
            self._found[key] = trace_step(self.config, train, rows, self._counts)
        return self._found[key]

    def rollouts(self, train: TrainConfig, work: RolloutWork, device: torch.device) -> Trace:
        """The same of a step on sampled answers: what is sampled and scored, and its updates.

        Args:
            train: As `step`.
            work: What is sampled, and the answers of its largest forward passes.
            device: Kind of device, which decides the thumbs model's type.
        """
        sampled = work.sampled
        key = f"{train.model_dump_json()} {sampled.thumbs.model_dump_json()} {sampled.new_tokens} {device.type}"
        if key not in self._found:
            steps = RolloutSteps(self.config, train, sampled)
            traced = trace_step(self.config, train, work.largest, self._counts, steps)
            self._found[key] = traced._replace(scored=steps.scored(device))
        return self._found[key]

    def layout(self, train: TrainConfig) -> Layout:
        """How the sequences of a forward pass lie."""
        return self._policy(train).layout

    def _counts(self, train: TrainConfig) -> Numbers:
        return _counts(self._policy(train))

    def _policy(self, train: TrainConfig) -> Policy:
        """The whole model, on the meta device, with all that decides its parameters and its layout."""
        key = f"{train.adapter} {train.lora} {train.layout}"
        if key not in self._whole:
            self._whole[key] = meta_policy(self.config, train)
        return self._whole[key]


def trace_step(
    config: Any,
    train: TrainConfig,
    rows: Sequence[Row],
    whole_counts: Callable[[TrainConfig], Numbers],
    steps: RolloutSteps | None = None,
) -> Trace:
    """What a step of these rows takes, whatever the model's depth.

    Args:
        config: The model's.
        train: All that decides how a step is taken.
        rows: A step's rows.
        whole_counts: Numbers of parameters of the whole model.
        steps: What samples and scores answers before; None where none are.

    Raises:
        UntraceableError: The model cannot be run on shapes.
    """
    layers = config.get_text_config().num_hidden_layers
    lower, upper = _depths(config.get_text_config())
    if layers <= max(upper, _SHALLOW):
        return _trace(config, train, rows, steps)
    short, long = (_trace(with_layers(config, depth), train, rows, steps) for depth in (lower, upper))
    counts = _line(short.counts, long.counts, (layers - upper) / (upper - lower))
    whole = whole_counts(train)
    if any(not math.isclose(counts[name], whole[name]) for name in whole):
        # Its layers differ in a way that a few of the first do not show.
        return _trace(config, train, rows, steps)
    factor = (layers - upper) / (upper - lower)
    peaks = {phase: _line(short.peaks[phase], long.peaks[phase], factor) for phase in long.peaks}
    before = _line(short.before, long.before, factor)
    flops = long.flops + factor * (long.flops - short.flops)
    return long._replace(peaks=peaks, flops=flops, counts=counts, before=before)


def _line(short: Numbers, long: Numbers, factor: float) -> dict[str, float]:
    names = short.keys() | long.keys()
    return {name: long.get(name, 0) + factor * (long.get(name, 0) - short.get(name, 0)) for name in names}


def _depths(text: Any) -> tuple[int, int]:
    """Two depths whose difference holds each kind of layer as often as the whole does, after layers of another kind."""
    kinds = list(getattr(text, "layer_types", None) or [])
    period = next((size for size in range(1, len(kinds)) if _repeats(kinds, size)), 1)
    first = int(getattr(text, "first_k_dense_replace", None) or 0)
    for name in ("decoder_sparse_step", "moe_layer_freq", "interleave_moe_layer_step"):
        step = getattr(text, name, None)
        period = math.lcm(period, step) if isinstance(step, int) and step > 0 else period
    # One layer is first and last at once: three have a middle.
    lower = first + math.ceil(3 / period) * period
    # Layers are taken from the front, so the whole's remainder must be in both.
    lower += (text.num_hidden_layers - lower) % period
    return lower, lower + period


def _repeats(kinds: Sequence[str], size: int) -> bool:
    return all(kind == kinds[place % size] for place, kind in enumerate(kinds))


def _trace(config: Any, train: TrainConfig, rows: Sequence[Row], steps: RolloutSteps | None) -> Trace:
    bare = bare_policy(config, train)
    own_attention, policy = bare.model.config._attn_implementation, laid_out(bare, train)
    ledger = Ledger()
    shapes = Shapes(ledger)
    # bitsandbytes' kernels take no shapes; what its state weighs instead is put in its place by `estimate`.
    traced = train.model_copy(update={"optimizer": "adamw"} if train.optimizer == "adamw_8bit" else {})
    counts = _counts(policy)
    objective = _objective(train, sampled=steps is not None)
    reference = None if steps is None else steps.add(policy, config)
    trained = "weights" if train.adapter == "none" else "adapter"
    shapes.fill(policy.scorer, lambda tensor: trained if tensor.requires_grad else "weights")
    if reference is not None and reference.own is not None:
        shapes.fill(reference.own.scorer, lambda _: "reference")
    try:
        with shapes:
            # A master copy is made here.
            ledger.kind = "optimizer"
            optimizer = make_optimizer(policy, traced)
            _make_state(policy, optimizer, ledger)
            ledger.peaks.clear()
            before = (
                {} if steps is None or reference is None else steps.run(policy, reference, rows, own_attention, shapes)
            )
            flops = shapes.flops
            with watched(policy, optimizer, ledger):
                taken = take_step(policy, objective, optimizer, rows, traced)
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
        raise UntraceableError(
            f"plan: a step of {type(policy.model).__name__} cannot be run on shapes: {str(error).splitlines()[0]}"
        ) from error
    peaks = {phase: dict(peak) for phase, peak in ledger.peaks.items()}
    own = float(shapes.flops - flops)
    return Trace(peaks, own, int(taken["computed_tokens"]), policy.layout, counts, before)


def _objective(train: TrainConfig, *, sampled: bool) -> Goal:
    if sampled:
        return rollout_objective(train)
    # What single tokens count takes the reference's log-probs of each, which a plan has not, and next to no memory.
    as_sums = {"ld_alpha": 1.0, "ratio_floor": None, "ratio_ceiling": None}
    return objective_of(train.model_copy(update=as_sums), 1, 1)


def _make_state(policy: Policy, optimizer: torch.optim.Optimizer, ledger: Ledger) -> None:
    """The state that every step but the first finds."""
    ledger.kind, ledger.phase = "gradients", "loading"
    for weight in _trained(policy):
        weight.grad = torch.zeros_like(weight)
    ledger.kind = "optimizer"
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _trained(policy: Policy) -> list[torch.nn.Parameter]:
    return [weight for weight in policy.model.parameters() if weight.requires_grad]


def _counts(policy: Policy) -> dict[str, float]:
    from ..training.parallel.wrapping import layers_of

    model = policy.model
    head = model.get_output_embeddings()
    linear = {
        id(module.weight): module.weight.numel()
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head and "lora_" not in name
    }
    weights = {id(weight): weight for weight in model.parameters()}
    in_layers = {id(weight) for layer in layers_of(model) for weight in layer.parameters()}
    embeddings = {
        id(module.weight): module.weight for module in model.modules() if isinstance(module, torch.nn.Embedding)
    }
    return {
        "all": sum(weight.numel() for weight in weights.values()),
        "base": sum(weight.numel() for name, weight in model.named_parameters() if "lora_" not in name),
        "trained": sum(weight.numel() for weight in weights.values() if weight.requires_grad),
        "linear": sum(linear.values()),
        "root": sum(weight.numel() for key, weight in weights.items() if key not in in_layers),
        "largest": max(weight.numel() for weight in weights.values()),
        "largest_linear": max(linear.values(), default=0),
        "embedding": sum(weight.numel() for weight in embeddings.values() if weight.requires_grad),
    }

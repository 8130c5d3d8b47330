"""One training step on shapes, by the very code that trains: what it holds in each phase, and what it computes.

Peaks and operations grow by the same amount with each layer, so a deep model is traced at two small depths, and the
line through both is followed to its own.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import torch

from ..config import TrainConfig
from ..errors import PipelineError
from ..training.layouts import Layout
from ..training.objective import objective_of
from ..training.optimizers import make_optimizer
from ..training.policy import Policy
from ..training.rows import Row
from ..training.step import take_step
from .ledger import Ledger
from .models import meta_policy, with_layers
from .shapes import Shapes

# A model of no more layers than this is traced as it is.
_SHALLOW: Final = 6
_NUMBER: Final = re.compile(r"\.(\d+)\.")
# What a tensor is for, in the order in which it is shown.
KINDS: Final = ("weights", "adapter", "gradients", "optimizer", "casts", "activations", "head", "working")
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
            `embedding` (trained ones).
    """

    peaks: Mapping[str, Numbers]
    flops: float
    tokens: int
    layout: Layout
    counts: Numbers


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
    config: Any, train: TrainConfig, rows: Sequence[Row], whole_counts: Callable[[TrainConfig], Numbers]
) -> Trace:
    """What a step of these rows takes, whatever the model's depth.

    Args:
        config: The model's.
        train: All that decides how a step is taken.
        rows: A step's rows.
        whole_counts: Numbers of parameters of the whole model.

    Raises:
        UntraceableError: The model cannot be run on shapes.
    """
    layers = config.get_text_config().num_hidden_layers
    lower, upper = _depths(config.get_text_config())
    if layers <= max(upper, _SHALLOW):
        return _trace(config, train, rows)
    short, long = (_trace(with_layers(config, depth), train, rows) for depth in (lower, upper))
    counts = _line(short.counts, long.counts, (layers - upper) / (upper - lower))
    whole = whole_counts(train)
    if any(not math.isclose(counts[name], whole[name]) for name in whole):
        # Its layers differ in a way that a few of the first do not show.
        return _trace(config, train, rows)
    factor = (layers - upper) / (upper - lower)
    peaks = {phase: _line(short.peaks[phase], long.peaks[phase], factor) for phase in long.peaks}
    return long._replace(peaks=peaks, flops=long.flops + factor * (long.flops - short.flops), counts=counts)


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


def _trace(config: Any, train: TrainConfig, rows: Sequence[Row]) -> Trace:
    policy = meta_policy(config, train)
    ledger = Ledger()
    shapes = Shapes(ledger)
    # bitsandbytes' kernels take no shapes; what its state weighs instead is put in its place by `estimate`.
    traced = train.model_copy(update={"optimizer": "adamw"} if train.optimizer == "adamw_8bit" else {})
    counts = _counts(policy)
    # What single tokens count takes the reference's log-probs of each, which a plan has not, and next to no memory.
    as_sums = {"ld_alpha": 1.0, "ratio_floor": None, "ratio_ceiling": None}
    objective = objective_of(train.model_copy(update=as_sums), 1, 1)
    trained = "weights" if train.adapter == "none" else "adapter"
    shapes.fill(policy.scorer, lambda tensor: trained if tensor.requires_grad else "weights")
    try:
        with shapes:
            # A master copy is made here.
            ledger.kind = "optimizer"
            optimizer = make_optimizer(policy, traced)
            _make_state(policy, optimizer, ledger)
            ledger.peaks.clear()
            with _watched(policy, optimizer, ledger):
                taken = take_step(policy, objective, optimizer, rows, traced)
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
        raise UntraceableError(
            f"plan: a step of {type(policy.model).__name__} cannot be run on shapes: {str(error).splitlines()[0]}"
        ) from error
    peaks = {phase: dict(peak) for phase, peak in ledger.peaks.items()}
    return Trace(peaks, float(shapes.flops), int(taken["computed_tokens"]), policy.layout, counts)


def _make_state(policy: Policy, optimizer: torch.optim.Optimizer, ledger: Ledger) -> None:
    """The state that every step but the first finds."""
    ledger.kind, ledger.phase = "gradients", "loading"
    for weight in _trained(policy):
        weight.grad = torch.zeros_like(weight)
    ledger.kind = "optimizer"
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


@contextmanager
def _watched(policy: Policy, optimizer: torch.optim.Optimizer, ledger: Ledger) -> Iterator[None]:
    """The ledger is told which phase runs, and what tensors are for."""
    body = policy.model.base_model
    hooks = [
        policy.scorer.register_forward_pre_hook(lambda *_: _enter(ledger, "forward", "head")),
        body.register_forward_pre_hook(lambda *_: _enter(ledger, "forward", "activations")),
        body.register_forward_hook(lambda *_: _enter(ledger, "forward", "head")),
        optimizer.register_step_pre_hook(lambda *_: _enter(ledger, "optimizer", "optimizer")),
        *_gradient_hooks(policy, ledger),
    ]
    backward = torch.autograd.backward

    def marked(*arguments: Any, **named: Any) -> None:
        _enter(ledger, "backward 1", "working")
        backward(*arguments, **named)
        _enter(ledger, "optimizer", "working")

    torch.autograd.backward = marked
    try:
        yield
    finally:
        torch.autograd.backward = backward
        for hook in hooks:
            hook.remove()


def _enter(ledger: Ledger, phase: str, kind: str) -> None:
    if not (phase == "forward" and ledger.phase.startswith("backward")):
        # What gradient checkpointing computes again in the backward pass is a part of it.
        ledger.phase, ledger.kind = phase, kind


def _gradient_hooks(policy: Policy, ledger: Ledger) -> Iterator[Any]:
    """Gradients are counted as such, and part the backward pass: the last layer, those between, and what is below all.

    Memory then grows or shrinks evenly inside each part, so that its peak is a line over the number of layers.
    """
    layers = {name: _layer(name) for name, _ in policy.model.named_parameters()}
    last = max((layer for layer in layers.values() if layer is not None), default=0)
    first = [name for name, weight in policy.model.named_parameters() if layers[name] == 0 and weight.requires_grad]
    arrived: set[str] = set()

    def arrives(name: str) -> Any:
        def hook(weight: torch.Tensor) -> None:
            if weight.grad is not None:
                ledger.rename(weight.grad.untyped_storage(), "gradients")
            layer = layers[name]
            arrived.update({name} if layer == 0 else ())
            if len(arrived) == len(first):
                _enter(ledger, "backward 3", "working")
                arrived.clear()
            elif layer is not None and layer < last and ledger.phase == "backward 1":
                _enter(ledger, "backward 2", "working")

        return hook

    for name, weight in policy.model.named_parameters():
        if weight.requires_grad:
            yield weight.register_post_accumulate_grad_hook(arrives(name))


def _layer(name: str) -> int | None:
    found = _NUMBER.search(name)
    return None if found is None else int(found.group(1))


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

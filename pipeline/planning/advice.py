"""What to change where training does not fit: settings in the order of what they cost, each with what it would give."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from ..config import RunConfig, TrainConfig, build_config, put
from ..training.methods import main_method

Change = Mapping[str, Any]


class Tried(NamedTuple):
    """A change with those before it.

    Attributes:
        change: Settings by their dotted names; `devices` is the number of devices.
        why: What it costs.
        peak: Bytes of one device with it and all changes before it.
        fits: Whether that is in memory.
    """

    change: dict[str, Any]
    why: str
    peak: float
    fits: bool

    def in_words(self) -> str:
        """The change as options of a command."""
        return " ".join(
            f"--{name} {value}" if name == "devices" else f"--set {name}={_plain(value)}"
            for name, value in self.change.items()
        )


_VALUE_LAYER: Final = ({"train.rollouts.value_model": "policy"}, "a layer predicts rewards, and no model of its own")
# The first three change no number that is trained, or rounding alone; the last but one trains other weights.
_CHECKPOINTING: Final = ({"train.gradient_checkpointing": True}, "layers are computed twice: a third more time")
_SMALL: Final = ({"train.micro_batch_rows": 1}, "smaller forward passes, which may be slower")
_ROUNDED: Final = (
    {"train.weights": "bfloat16"},
    "weights of half the size; trained ones are rounded by chance, or keep a master copy (train.rounding)",
)
_ADAPTER: Final = ({"train.adapter": "lora", "train.weights": "bfloat16"}, "an adapter is trained, not all weights")
_FOUR_BITS: Final = (
    {
        "train.adapter": "lora",
        "train.weights": "nf4",
        "train.save": "adapter",
        "reference.quantization": "nf4",
        "reference.engine": "hf",
    },
    "an adapter on 4-bit weights (GPU), whose reference is scored again with them",
)
_SMALL_STATE: Final = ({"train.optimizer": "adamw_8bit"}, "optimiser state of 8 bits (bitsandbytes)")
# What training takes on shared-out weights.
_EXACT: Final = {"train.weights": "float32", "train.optimizer": "adamw"}
_MOST_DEVICES: Final = 64


def candidates(config: RunConfig, devices: int) -> Iterator[tuple[dict[str, Any], str]]:
    """Changes that a run has not made yet, mildest first.

    Args:
        config: The run.
        devices: Devices that it has.
    """
    train = config.train
    yield from _of_sampling(train)
    if not train.gradient_checkpointing:
        yield _CHECKPOINTING
    if train.micro_batch_rows > 1:
        yield _SMALL
    if train.weights == "float32" and train.dtype == "bfloat16":
        yield _ROUNDED
    if train.adapter == "none":
        if train.optimizer == "adamw":
            yield _SMALL_STATE
        yield from _more_devices(train, devices)
        yield {**_ADAPTER[0], "devices": 1, "train.optimizer": "adamw"}, _ADAPTER[1]
    if train.weights != "nf4" and train.dtype == "bfloat16":
        yield _FOUR_BITS


def _of_sampling(train: TrainConfig) -> Iterator[tuple[dict[str, Any], str]]:
    if main_method(train).spec.samples_answers and train.rollouts.value_model == "thumbs":
        yield _VALUE_LAYER


def _more_devices(train: TrainConfig, devices: int) -> Iterator[tuple[dict[str, Any], str]]:
    """Twice as many each time; of a method that samples its answers none, since one process trains."""
    while devices < _MOST_DEVICES and not main_method(train).spec.samples_answers:
        devices *= 2
        yield {"devices": devices, **_EXACT}, "weights, gradients and state are shared out (FSDP2 under torchrun)"


def changed(config: RunConfig, change: Change) -> RunConfig:
    """The run with settings by their dotted names changed.

    Raises:
        ConfigError: They do not hold together.
    """
    document = config.model_dump(mode="json")
    for name, value in change.items():
        if "." in name:
            put(document, name, value, origin="plan")
    return build_config(document, origin="plan")


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

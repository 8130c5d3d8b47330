"""What `thumbline plan` has for training steps, beside what was measured of them."""

import importlib.util
from collections.abc import Iterator, Mapping, Sequence

from thumbline.pipeline.config import RunConfig
from thumbline.pipeline.planning.estimate import GIB, estimate
from thumbline.pipeline.planning.tracing import Traces
from thumbline.pipeline.planning.work import Stated, work_of

from .machine import Line, Machine, Way
from .shapes import Shape
from .steps import SETTINGS, Setting, train_config

# A plan takes seconds: those whose parts of memory differ most.
_PLANNED = (
    "1B DPO, full, float32",
    "8B DPO, LoRA",
    "8B DPO, full, bfloat16",
    "1B DPO, full, checkpointed",
    "0.5B DPO, full, float32",
)
_DRY_PLANNED = _PLANNED[:1]


def ways(machine: Machine, shapes: Sequence[Shape], measured: Mapping[str, float | None]) -> Iterator[Way]:
    """Plans of some settings.

    Args:
        machine: The device.
        shapes: The models' sizes.
        measured: GiB at the peak of a step, by way; what was not measured is planned all the same.
    """
    by_name = {shape.name: shape for shape in shapes}
    for setting in SETTINGS:
        shape, way = by_name[setting.shape], f"{setting.shape} {setting.name}"
        if way in (_DRY_PLANNED if machine.dry else _PLANNED):
            yield way, lambda shape=shape, setting=setting, way=way: _line(machine, shape, setting, measured.get(way))


def _line(machine: Machine, shape: Shape, setting: Setting, gib: float | None) -> Line:
    way = f"{setting.shape} {setting.name}"
    missing = [name for name in setting.needs if importlib.util.find_spec(name) is None]
    if missing:
        return Line("plan", way, note=f"skipped: {', '.join(missing)} is not installed")
    return Line("plan", way, gib=gib, planned_gib=planned_gib(machine, shape, setting))


def planned_gib(machine: Machine, shape: Shape, setting: Setting) -> float:
    """GiB at the peak, the libraries' own among them."""
    from transformers import AutoConfig

    train, lengths = train_config(shape, setting), shape.lengths
    run = RunConfig.model_validate(
        {"name": "planned", "model": "none", "events": {"inputs": ["none.jsonl"]}, "train": train}
    )
    traces = Traces(AutoConfig.for_model(shape.family, **shape.settings))
    # Both completions are taken to be as long as the chosen one, as they are outside dry runs.
    with work_of(run, Stated(lengths.prompt, lengths.chosen), traces.layout(train)) as work:
        return estimate(traces, train, work, machine.kind).peak / GIB

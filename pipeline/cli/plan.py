"""The command `plan`: what a run's training would take, before anything is loaded."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, cast

import typer
from rich.table import Table
from rich.text import Text

from ..config import RunConfig
from ..errors import ConfigError
from ..libraries import check_libraries
from .options import grouped
from .run import SetOption
from .terminal import out

if TYPE_CHECKING:
    # torch and transformers come with it, which `thumbline --help` should not wait for.
    from ..planning.planned import Asked, Plan, Time

_GIB: Final = 2**30
_DOES_NOT_FIT: Final = 1
_WHAT: Final = {
    "weights": "weights",
    "adapter": "adapter",
    "reference": "reference model",
    "thumbs": "thumbs model",
    "engine": "vLLM's copy and keys",
    "gradients": "gradients",
    "optimizer": "optimiser state",
    "casts": "weights in autocast's type",
    "activations": "activations",
    "head": "head",
    "sampling": "keys, values and draws",
    "working": "working memory",
    "gathered": "gathered layers (FSDP2)",
    "kept": "freed blocks kept",
    "libraries": "libraries",
}


@dataclass(frozen=True)
class DeviceArguments:
    """What is planned for."""

    devices: Annotated[int, typer.Option(min=1, help="Devices that train together.")] = 1
    memory: Annotated[float | None, typer.Option(min=0.0, help="Memory of a device, GiB: does it fit?")] = None
    flops: Annotated[
        float | None, typer.Option(min=1.0, help="Floating-point operations a second that a device sustains, as 4e14.")
    ] = None
    measure: Annotated[bool, typer.Option("--measure", help="Measure --flops by a matrix product here.")] = False
    device: Annotated[str, typer.Option(help="cuda or cpu; auto: cuda where --memory or --devices is given.")] = "auto"
    rows: Annotated[int | None, typer.Option(min=1, help="Pairs or rows to train on.")] = None
    prompt_tokens: Annotated[int | None, typer.Option(min=1, help="Tokens of each prompt.")] = None
    completion_tokens: Annotated[int | None, typer.Option(min=1, help="Tokens of each completion.")] = None

    def asked(self, config: RunConfig) -> "Asked":
        """The same in bytes.

        Raises:
            ConfigError: The device is of no kind that is known.
        """
        from ..planning.planned import Asked, measured_flops
        from ..planning.work import Stated

        flops = self.flops
        if self.measure:
            import torch

            flops = measured_flops(getattr(torch, config.train.dtype))
        return Asked(
            self.devices,
            None if self.memory is None else self.memory * _GIB,
            flops,
            self._kind(config),
            Stated(self.prompt_tokens, self.completion_tokens, self.rows),
        )

    def _kind(self, config: RunConfig) -> Literal["cpu", "cuda"]:
        if self.device not in ("auto", "cpu", "cuda"):
            raise ConfigError(f"--device {self.device}: write auto, cpu or cuda.")
        if self.device != "auto":
            return cast("Literal['cpu', 'cuda']", self.device)
        set_to = config.train.device.partition(":")[0]
        if set_to != "auto":
            return "cuda" if set_to == "cuda" else "cpu"
        return "cuda" if self.memory is not None or self.devices > 1 else "cpu"


@grouped
def plan_command(
    config: Annotated[Path, typer.Argument(help="YAML file that describes the run.", metavar="CONFIG.yaml")],
    devices: DeviceArguments,
    settings: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON, sizes in bytes.")] = False,
) -> None:
    """Say what training would take: memory a device, time, which methods fit, what to change.

    No weights are read: a folder with a config.json will do as `model`. Exits with 1 where training does not fit in
    --memory, and with 0 where it does or --memory is not given.
    """
    check_libraries("thumbline plan", "torch", "transformers")
    from .. import line
    from ..planning import planned

    loaded = line.open_run(config, tuple(settings or ()))
    line.check_planned(loaded)
    found = planned.plan(loaded, devices.asked(loaded))
    if as_json:
        out.print_json(json.dumps(planned.as_json(found)))
    else:
        _print(found)
    if found.fits is False:
        raise typer.Exit(_DOES_NOT_FIT)


def _print(plan: "Plan") -> None:
    out.print(_heading(plan), soft_wrap=True)
    out.print(_memory(plan))
    out.print(_verdict(plan), soft_wrap=True)
    for line in (*_time_lines(plan), *_scoring_lines(plan)):
        out.print(line, soft_wrap=True)
    if plan.changes:
        out.print("\nWhat to change, one on top of the other:")
        out.print(_changes(plan))
    out.print("\nMethods, with the run's other settings:")
    out.print(_methods(plan))
    out.print("\nModels in memory by method, weights in bfloat16 alone, GB (10^9 bytes):")
    out.print(_copies(plan))


def _heading(plan: "Plan") -> str:
    share = plan.trained / plan.parameters
    way = {"none": "", "ddp": ", a copy on each (DDP)", "fsdp": ", weights shared out (FSDP2)"}[plan.memory.way]
    count = plan.asked.devices
    return (
        f"{plan.model}: {_count(plan.parameters)} parameters, {_count(plan.trained)} trained ({share:.2%}), on "
        f"{count} {plan.asked.device} device{'s' if count > 1 else ''}{way}\n"
        f"Rows: {plan.lengths}; layout {plan.memory.trace.layout}\n"
    )


def _memory(plan: "Plan") -> Table:
    """Kinds down, phases across."""
    phases = plan.memory.phases
    table = _table(
        "GiB a device", *(Text(name, style="bold" if name == plan.memory.peak_phase else "") for name in phases)
    )
    for kind, words in _WHAT.items():
        if any(peak.get(kind, 0.0) >= 0.005 * _GIB for peak in phases.values()):
            table.add_row(words, *(_gib(peak.get(kind, 0.0)) for peak in phases.values()))
    table.add_row("together", *(_gib(sum(peak.values())) for peak in phases.values()), style="bold")
    return table


def _verdict(plan: "Plan") -> Text:
    peak, asked = plan.memory.peak, plan.asked
    text = f"\nPeak: {_gib(peak)} GiB a device in the phase '{plan.memory.peak_phase}'"
    if asked.devices > 1:
        text += f", {_gib(peak * asked.devices)} GiB in total"
    if asked.memory is None:
        return Text(f"{text}. Say --memory to know whether it fits.")
    words = ("fits", "green") if plan.fits else ("does not fit", "red")
    return Text.assemble(f"{text}: ", words, f" in {_gib(asked.memory)} GiB.")


def _time_lines(plan: "Plan") -> list[str]:
    spent = plan.time
    lines = [
        f"Time: {spent.step_tokens:,.0f} tokens computed a step, {spent.step_flops:.3g} FLOPs "
        f"({spent.token_flops:.1f} a token and parameter{_parts(spent)})"
    ]
    if spent.step_seconds is None:
        return [f"{lines[0]}. Say --flops or --measure to know how long that takes."]
    total = (
        "the number of steps is not known (--rows)"
        if spent.seconds is None
        else f"{spent.steps:,} steps, {_span(spent.seconds)}"
    )
    return [f"{lines[0]}, {_span(spent.step_seconds)} a step; {total}."]


def _parts(spent: "Time") -> str:
    """What of a step's operations is sampling and scoring, where answers are sampled."""
    if not spent.sampling_flops and not spent.scoring_flops:
        return ""
    return f"; {spent.sampling_flops / spent.step_flops:.0%} sample, {spent.scoring_flops / spent.step_flops:.0%} score"


def _scoring_lines(plan: "Plan") -> list[str]:
    need = plan.scoring
    return [
        f"Scoring by vLLM: weights {_gib(need.weights)} GiB a device, keys and values {_gib(need.sequence)} GiB a "
        f"sequence of the longest, {_gib(need.in_flight)} GiB for all in flight."
    ]


def _changes(plan: "Plan") -> Table:
    table = _table("GiB", "fits", left=("change", "at the cost of"))
    for tried in plan.changes:
        table.add_row(tried.in_words(), tried.why, _gib(tried.peak), "yes" if tried.fits else "no")
    return table


def _methods(plan: "Plan") -> Table:
    table = _table("GiB", "fits", left=("methods", "rows", "reference"))
    groups: dict[tuple[str, bool, float, bool | None], list[str]] = {}
    for fit in plan.methods:
        groups.setdefault((fit.rows, fit.needs_reference, fit.peak, fit.fits), []).append(fit.method)
    for (rows, reference, peak, fits), names in groups.items():
        stored = "in memory" if rows == "prompts" else "stored log-probs" if reference else "none"
        table.add_row(", ".join(names), rows, stored, _gib(peak), {None: "?", True: "yes", False: "no"}[fits])
    return table


def _copies(plan: "Plan") -> Table:
    table = _table("models", f"{_count(plan.parameters)}", "70B", "models here", "this one", "70B", left=("method",))
    for own, large in zip(*plan.copies, strict=True):
        usual = (str(own.usual), _gb(own.usual_bytes), _gb(large.usual_bytes))
        table.add_row(own.method, *usual, str(own.here), _gb(own.here_bytes), _gb(large.here_bytes))
    return table


def _table(*headings: str | Text, left: tuple[str, ...] = ()) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in left or headings[:1]:
        table.add_column(heading)
    for heading in headings if left else headings[1:]:
        table.add_column(heading, justify="right")
    return table


def _gib(size: float) -> str:
    return f"{size / _GIB:,.2f}"


def _gb(size: float) -> str:
    return f"{size / 1e9:,.3g}"


def _count(number: float) -> str:
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def _span(seconds: float) -> str:
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.2f} s"

"""A comparison of methods, checked as a whole before any work starts."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ..config import RunConfig
from ..config.documents import read_value
from ..errors import ConfigError, unknown_name
from ..libraries import libraries_told
from ..sweep.plan import absolute, check_seeds
from .arms import Plan, method_config, sharing

# In the order of tutorials' table; what a version lacks is left out and said.
METHODS: Final = ("sft", "dpo", "ipo", "kto", "orpo", "simpo", "ppo", "rloo")
BASELINE: Final = "dpo"
KEEPS: Final = ("none", "all")
_NUMBER: Final = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


def plan_methods(
    config: RunConfig,
    methods: Sequence[str] | None = None,
    *,
    seeds: Sequence[int] | None = None,
    baseline: str | None = None,
    tokens: int | None = None,
    changes: Mapping[str, Mapping[str, Any]] | None = None,
    output: Path | None = None,
    keep: str = "none",
) -> Plan:
    """The comparison of methods on one run's data, model and reference.

    Args:
        config: The run; its settings of training hold for every method, its hyper-parameters for its own.
        methods: Names; None: those of `METHODS` that there are and that the run's settings allow.
        seeds: `train.seed` of each method's trials; None: the run's own.
        baseline: The method that others are compared with; None: `dpo`, or the first where that is not among them.
        tokens: Completion tokens that each trains on; None: as many as the baseline takes by the run file.
        changes: Settings below `train` for single methods, by method.
        output: Folder of the comparison; None: beside the run's, with `-methods` after its name.
        keep: Whether trained models stay on disk.

    Raises:
        ConfigError: A method is unknown or cannot be trained so, fewer than two are left, or an option does not hold.
    """
    check_seeds(seeds)
    if keep not in KEEPS:
        raise ConfigError(f"--keep: {unknown_name('choice', keep, KEEPS)}")
    if tokens is not None and tokens < 1:
        raise ConfigError(f"--tokens {tokens}: give a number of completion tokens, at least 1.")
    config = absolute(config)
    made, left_out = _made(config, methods, changes or {})
    compared = _baseline(baseline, list(made))
    folder = (output or Path(config.runs) / f"{config.name}-methods").absolute()
    return Plan(
        output=folder,
        config=config,
        arms=sharing(config, made, dict.fromkeys(made, compared)),
        seeds=tuple(seeds) if seeds is not None else (config.train.seed,),
        baseline=compared,
        tokens=tokens,
        keep=keep,
        left_out=left_out,
    )


def _made(
    config: RunConfig, methods: Sequence[str] | None, changes: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, RunConfig], dict[str, str]]:
    """Each method's run, and the methods that were left out with the reason."""
    with libraries_told("compare-methods"):
        from thumbline.losses.registry import method_names

    known = method_names()
    names = list(METHODS if methods is None else methods)
    _check_names(names, known, changes, asked=methods is not None)
    made, left_out = {}, {}
    for name in names:
        if name not in known:
            left_out[name] = "this version does not have it"
            continue
        try:
            made[name] = method_config(config, name, changes.get(name, {}))
        except ConfigError as error:
            if methods is not None or name in changes:
                raise
            left_out[name] = str(error)
    if len(made) < 2:
        reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise ConfigError(
            f"compare-methods: {len(made)} method{'s are' if not made else ' is'} left to compare, and it takes two. "
            f"{reasons or 'Name more by --methods.'}"
        )
    return made, left_out


def _check_names(
    names: Sequence[str], known: Sequence[str], changes: Mapping[str, Mapping[str, Any]], *, asked: bool
) -> None:
    for name in names if asked else ():
        if name not in known:
            raise ConfigError(f"--methods: {unknown_name('method', name, known)}")
        if names.count(name) > 1:
            raise ConfigError(f"--methods: {name} is given more than once.")
    for name in changes:
        if name not in names:
            raise ConfigError(f"--for: {unknown_name('method', name, names)}")


def _baseline(asked: str | None, names: Sequence[str]) -> str:
    if asked is None:
        return BASELINE if BASELINE in names else names[0]
    if asked not in names:
        raise ConfigError(f"--baseline: {unknown_name('method', asked, names)}")
    return asked


def parse_change(text: str) -> tuple[str, str, Any]:
    """Method, key below `train` and value of `METHOD.KEY=VALUE`.

    Raises:
        ConfigError: It has no such form.
    """
    place, separator, written = text.partition("=")
    method, dot, key = place.strip().partition(".")
    if not separator or not dot or not all(key.split(".")) or not method:
        raise ConfigError(f"--for {text}: write it as METHOD.KEY=VALUE, for example --for simpo.learning_rate=1e-6.")
    key = key.removeprefix("train.")
    if key.split(".")[0] in ("method", "seed", "epochs", "max_steps", "most_rows"):
        raise ConfigError(
            f"--for {text}: {key} is the same for all methods, or follows from --seeds and the token budget (--tokens)."
        )
    return method, key, _plain(read_value(written, origin=f"--for {text}"))


def _plain(value: Any) -> Any:
    """The value, with numbers such as 1e-5, which YAML takes for text, as numbers."""
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value

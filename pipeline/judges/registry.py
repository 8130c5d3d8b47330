"""Every judge by name: those that come with thumbline, those that packages add, and functions by their place."""

import inspect
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from thumbline import plugins

from ..config import JudgeConfig
from ..errors import ConfigError, unknown_name
from . import chat, functions, thumbs, votes
from .base import JudgeSpec

JUDGES: Final[dict[str, JudgeSpec]] = {
    "thumbs": thumbs.SPEC,
    "chat": chat.SPEC,
    "votes": votes.SPEC,
}
_GROUP: Final = "thumbline.judges"
# A template is no cell of a table.
_LONGEST_DEFAULT: Final = 24
# An entry point is a `JudgeSpec`, or a function as `functions` takes them.
_PLUGINS: Final[plugins.Plugins[Any]] = plugins.Plugins(_GROUP, object, JUDGES)


def judge_spec(name: str) -> JudgeSpec:
    """The judge called `name`: one of `JUDGES`, one that an installed package adds, or a function by its place.

    Raises:
        ConfigError: There is none, or its package, module or file is broken.
    """
    if functions.is_path(name):
        return functions.spec_of_path(name)
    try:
        added = _PLUGINS.get(name)
    except plugins.PluginError as error:
        raise ConfigError(str(error)) from error
    if isinstance(added, JudgeSpec):
        return added
    if added is not None:
        return functions.spec_of_function(added, name, _source(added))
    if name not in JUDGES:
        raise ConfigError(
            f"judges: {unknown_name('judge', name, judge_names())} A function of your own is written as "
            f"package.module:function, or path/to/file.py:function from the run file."
        )
    return JUDGES[name]


def _source(function: object) -> Path | None:
    module = sys.modules.get(getattr(function, "__module__", ""))
    file = None if module is None else inspect.getsourcefile(module)
    return None if file is None else Path(file)


def judge_names() -> list[str]:
    """Names of all judges, those of other packages last; nothing of theirs is loaded."""
    return list(dict.fromkeys((*JUDGES, *_PLUGINS.names())))


def judge_options(config: JudgeConfig) -> Any:
    """A judge's settings, as its spec's model reads them.

    Raises:
        ConfigError: The judge or an option is unknown, or a value does not hold; no value is repeated.
    """
    model = judge_spec(config.judge).options
    unknown = [key for key in config.options if key not in model.model_fields]
    if unknown:
        known = list(model.model_fields) or ["none"]
        raise ConfigError(f"judges: {config.called}: {unknown_name('option', unknown[0], known)}")
    try:
        return model.model_validate(config.options)
    except ValidationError as error:
        places = [(".".join(map(str, problem["loc"])) or "options", problem["msg"]) for problem in error.errors()]
        raise ConfigError(f"judges: {config.called}: " + "; ".join(f"{at}: {what}" for at, what in places)) from error


def check_judges(judges: Iterable[JudgeConfig]) -> None:
    """Refuse at once what would stop a judge after hours of training: unknown names, options that do not hold.

    Raises:
        ConfigError: Names the judge and what to change.
    """
    for config in judges:
        judge_spec(config.judge).check(judge_options(config))


def what_decides(config: JudgeConfig) -> dict[str, Any]:
    """A judge's settings as far as they decide what it says; files by their names, wherever they lie."""
    spec = judge_spec(config.judge)
    options = judge_options(config).model_dump(mode="json", exclude=set(spec.manner))
    place, _, function = config.judge.rpartition(":")
    judge = f"{Path(place).name}:{function}" if place.endswith(".py") else config.judge
    return {"judge": judge, "name": config.called, "options": options}


def outside(judges: Iterable[JudgeConfig]) -> Mapping[str, str]:
    """Digests of what the judges depend on beside their settings: packages, files, models."""
    listed = list(judges)
    found = plugins.origins(_GROUP, [config.judge for config in listed])
    for config in listed:
        depends = judge_spec(config.judge).depends(judge_options(config))
        found |= {f"{config.called}:{what}": digest for what, digest in depends.items()}
    return found


def describe() -> list[dict[str, str]]:
    """One row a judge, as `thumbline judges` prints them; where other packages add some, with the package of each.

    A package that is broken takes its own row only, which says why.
    """
    rows = [_described(name, spec) for name, spec in JUDGES.items()]
    own = {
        "judge": "MODULE:FUNCTION, FILE.py:FUNCTION",
        "looks at": "one answer",
        "judges by": "A Python function of your own.",
        "options": "",
    }
    if not _PLUGINS.names():
        return [*rows, own]
    for name in _PLUGINS.names():
        try:
            rows.append(_described(name, judge_spec(name)))
        except ConfigError as error:
            rows.append(dict.fromkeys(rows[0], "") | {"judge": name, "judges by": str(error)})
    origin = [*(["thumbline"] * len(JUDGES)), *map(_PLUGINS.origin, _PLUGINS.names()), "yours"]
    return [row | {"from": package} for row, package in zip([*rows, own], origin, strict=True)]


def describe_options(name: str) -> list[dict[str, str]]:
    """One row an option of a judge: what it is without being set, and what it means.

    Raises:
        ConfigError: There is no such judge.
    """
    return [
        {
            "option": key,
            "default": "needed" if one.is_required() else _shown(one.default),
            "meaning": one.description or "",
        }
        for key, one in judge_spec(name).options.model_fields.items()
    ]


def _described(name: str, spec: JudgeSpec) -> dict[str, str]:
    fields = spec.options.model_fields.items()
    return {
        "judge": name,
        "looks at": "two answers" if spec.pairwise else "one answer",
        "judges by": spec.description,
        "options": ", ".join(key if one.is_required() else f"{key}={_shown(one.default)}" for key, one in fields),
    }


def _shown(default: object) -> str:
    text = json.dumps(default)
    return text if len(text) <= _LONGEST_DEFAULT else "..."

"""Run files and overrides to settings; what does not hold is told with its place."""

import glob
import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import ConfigError, unknown_name
from ..hiding import shown_argument
from .documents import read_document, read_value
from .keys import section_at, sections
from .run import RunConfig
from .training import TrainConfig


def load_config(path: Path, overrides: tuple[str, ...] = ()) -> RunConfig:
    """The run that the YAML file at `path` describes, with `key.sub=value` overrides applied.

    Input paths are read relative to the YAML file; the `runs` folder relative to the working folder.

    Raises:
        ConfigError: The file is missing or no YAML mapping, a key is unknown, or a value is out of range.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such run file.")
    document = read_document(path)
    document.setdefault("name", path.stem)
    for setting in overrides:
        override(document, setting)
    config = build_config(document, origin=str(path))
    names, files = list(config.splits.evaluation_sets), tuple(config.splits.evaluation_sets.values())
    sets = dict(zip(names, _resolve(files, path.parent), strict=True))
    judges = tuple(
        judge.model_copy(update={"judge": _resolve_function(judge.judge, path.parent)}) for judge in config.judges
    )
    return config.model_copy(
        update={
            "judges": judges,
            "events": config.events.model_copy(
                update={"inputs": tuple(_located(entry, path.parent) for entry in config.events.inputs)}
            ),
            "splits": config.splits.model_copy(update={"evaluation_sets": sets}),
        }
    )


def build_config(document: dict[str, Any], *, origin: str) -> RunConfig:
    """The run that `document` describes.

    Raises:
        ConfigError: A key is unknown or a value out of range; the message lists each with its place.
    """
    try:
        return RunConfig.model_validate(document)
    except ValidationError as error:
        lines = [_explain(problem) for problem in error.errors()]
        raise ConfigError(f"{origin}: {len(lines)} setting(s) do not hold:\n  " + "\n  ".join(lines)) from error


def _explain(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"]) or "the whole file"
    if problem["type"] == "extra_forbidden":
        return f"{place}: {_unknown_key(problem['loc'])}"
    return f"{place}: {problem['msg']}"


def _unknown_key(location: tuple[Any, ...]) -> str:
    """What is known where an unknown key stands, and where else a key of its name is known."""
    *places, key = location
    section = section_at(tuple(places))
    told = unknown_name("key", str(key), section.model_fields)
    if section is TrainConfig:
        told += " Hyper-parameters of the method stand in train.loss."
    elsewhere = [name or "the file itself" for name, other in sections().items() if key in other.model_fields]
    return f"{told} There is one of that name in: {', '.join(elsewhere)}." if elsewhere else told


def override(document: dict[str, Any], setting: str) -> None:
    """Apply one `key.sub=value` to a run's document, in place.

    Raises:
        ConfigError: It has no such form, or the key leads through a value.
    """
    origin = f"--set {shown_argument(setting)}"
    key, separator, value = setting.partition("=")
    if not separator or not all(key.strip().split(".")):
        raise ConfigError(f"{origin}: write it as key=value, for example --set train.method=kto.")
    put(document, key.strip(), read_value(value, tuple(key.strip().split(".")), origin=origin), origin=origin)


def put(document: dict[str, Any], key: str, value: Any, *, origin: str) -> None:
    """Set `key.sub` of a run's document, in place.

    Args:
        document: Sections by name.
        key: Names of nested sections and of the setting, with dots between.
        value: What is set.
        origin: Who sets it, for errors.

    Raises:
        ConfigError: The key leads through a value.
    """
    *sections, last = key.split(".")
    target = document
    for section in sections:
        child = target.setdefault(section, {})
        if not isinstance(child, dict):
            raise ConfigError(f"{origin}: '{section}' is a value, not a section.")
        target = child
    target[last] = value


def _located(entry: str, folder: Path) -> str:
    """An input of a run file in this folder, whose own name is no pattern though the entry may be one."""
    place = _resolve((entry,), folder)[0]
    if _is_address(entry) or not glob.has_magic(entry) or os.path.lexists(place):
        return place
    return str(Path(glob.escape(str(folder))) / entry)


def _resolve(inputs: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    return tuple(entry if _is_address(entry) else str(folder / entry) for entry in inputs)


def _resolve_function(judge: str, folder: Path) -> str:
    """A judge's name; the file of `FILE.py:function` is one of the run file's folder."""
    file, _, function = judge.rpartition(":")
    return f"{_resolve((file,), folder)[0]}:{function}" if file.endswith(".py") else judge


def _is_address(entry: str) -> bool:
    return entry.startswith("hub:") or "://" in entry or Path(entry).is_absolute()

"""Run files and overrides to settings; what does not hold is told with its place."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ..errors import ConfigError, unknown_name
from .run import RunConfig
from .words import read_yaml


def load_config(path: Path, overrides: tuple[str, ...] = ()) -> RunConfig:
    """The run that the YAML file at `path` describes, with `key.sub=value` overrides applied.

    Input paths are read relative to the YAML file; the `runs` folder relative to the working folder.

    Raises:
        ConfigError: The file is missing or no YAML mapping, a key is unknown, or a value is out of range.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such run file.")
    try:
        document = read_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: a run file is a mapping of keys; this one is a {type(document).__name__}.")
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
            "events": config.events.model_copy(update={"inputs": _resolve(config.events.inputs, path.parent)}),
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
        fields = _fields_at(problem["loc"][:-1])
        return f"{place}: {unknown_name('key', str(problem['loc'][-1]), fields)}"
    return f"{place}: {problem['msg']}"


def _fields_at(location: tuple[Any, ...]) -> list[str]:
    model: Any = RunConfig
    for part in location:
        model = model.model_fields[part].annotation
    return list(model.model_fields)


def override(document: dict[str, Any], setting: str) -> None:
    """Apply one `key.sub=value` to a run's document, in place.

    Raises:
        ConfigError: It has no such form, or the key leads through a value.
    """
    key, separator, value = setting.partition("=")
    if not separator or not all(key.strip().split(".")):
        raise ConfigError(f"--set {setting}: write it as key=value, for example --set train.method=kto.")
    try:
        plain = read_yaml(value, tuple(key.strip().split(".")))
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {setting}: the value is not readable as YAML.") from error
    put(document, key.strip(), plain, origin=f"--set {setting}")


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


def _resolve(inputs: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    return tuple(entry if _is_address(entry) else str(folder / entry) for entry in inputs)


def _resolve_function(judge: str, folder: Path) -> str:
    """A judge's name; the file of `FILE.py:function` is one of the run file's folder."""
    file, _, function = judge.rpartition(":")
    return f"{_resolve((file,), folder)[0]}:{function}" if file.endswith(".py") else judge


def _is_address(entry: str) -> bool:
    return entry.startswith("hub:") or "://" in entry or Path(entry).is_absolute()

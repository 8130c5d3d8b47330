"""What a run file may hold, as a JSON schema for editors and as rows to read: both from the settings' own models."""

import difflib
import functools
from typing import Any, Final, NamedTuple

from ..errors import ConfigError, unknown_name
from .base import StageConfig
from .keys import sections
from .run import RunConfig

SCHEMA_FILE: Final = "run.schema.json"
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_BOUNDS: Final = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}
_WORDS: Final = {
    "integer": "whole number",
    "number": "number",
    "boolean": "true | false",
    "string": "text",
    "null": "null",
    "object": "mapping",
}


class Setting(NamedTuple):
    """One key of a run file.

    Attributes:
        key: With its sections, joined by dots; a list of sections has the name of its key.
        takes: Type, allowed words and range, in words; null, where it may be unset, is left out.
        unit: Of a number; empty for others.
        default: Its value where nothing is set; None too where it is required.
        required: Whether a run file must have it.
        meaning: What it does.
    """

    key: str
    takes: str
    unit: str
    default: Any
    required: bool
    meaning: str


@functools.cache
def run_schema() -> dict[str, Any]:
    """The JSON schema of a run file; a number's `unit` stands in it beside JSON Schema's own words."""
    schema = RunConfig.model_json_schema()
    # A run file without a name has its file's.
    required = [key for key in schema["required"] if key != "name"]
    return {"$schema": _DIALECT, **schema, "title": "A run file of thumbline", "required": required}


def summaries() -> dict[str, str]:
    """What each section holds, by its dotted name; the file's own keys under an empty one."""
    return {name: (model.__doc__ or "").partition("\n")[0] for name, model in sections().items()}


def settings_named(name: str | None = None) -> list[Setting]:
    """The settings of a section and of those in it, or the settings of a key, in the run file's order.

    Args:
        name: A section (`train`), a key with its section (`train.epochs`), or a key alone (`epochs`), which gives all
            of that name; None gives all there are.

    Raises:
        ConfigError: There is neither a section nor a key of that name.
    """
    known = _all_settings()
    if name is None:
        return known
    for found in (
        [one for one in known if one.key == name or one.key.startswith(f"{name}.")],
        [one for one in known if one.key.rpartition(".")[2] == name],
    ):
        if found:
            return found
    raise ConfigError(unknown_name("section or key", name, [*filter(None, sections()), *_nearest_keys(name, known)]))


def _nearest_keys(name: str, known: list[Setting]) -> list[str]:
    """Keys for the list of an error: those whose own name is like the one that was asked for."""
    last = {one.key: one.key.rpartition(".")[2] for one in known}
    like = difflib.get_close_matches(name.rpartition(".")[2], last.values(), n=3, cutoff=0.6)
    return [key for key, own in last.items() if own in like]


def _all_settings() -> list[Setting]:
    return [setting for place in sections() for setting in _settings_of(place)]


def _settings_of(place: str) -> list[Setting]:
    """The keys of one section; those that are sections of a stage are no settings."""
    model, schema = sections()[place], run_schema()
    part = schema if model is RunConfig else schema["$defs"][model.__name__]
    return [
        Setting(
            key=f"{place}.{key}".lstrip("."),
            takes=" or ".join(words for words in _takes(value) if words != "null"),
            unit=next((part["unit"] for part in (value, *value.get("anyOf", ())) if "unit" in part), ""),
            default=value.get("default"),
            required=key in part.get("required", []),
            meaning=value["description"],
        )
        for key, value in _own_first(model, part["properties"])
        if "description" in value
    ]


def _own_first(model: type[StageConfig], properties: dict[str, Any]) -> list[tuple[str, Any]]:
    """The keys that a section states itself before those that it shares."""
    return sorted(properties.items(), key=lambda entry: entry[0] not in model.__annotations__)


def _takes(value: dict[str, Any]) -> list[str]:
    """What a schema allows, in words: one entry a kind of value."""
    if "anyOf" in value:
        return [words for part in value["anyOf"] for words in _takes(part)]
    if "enum" in value or "const" in value:
        return [" | ".join(value.get("enum", [value.get("const")]))]
    if "$ref" in value:
        return ["section"]
    kind = value["type"]
    if isinstance(kind, list):
        return ["text, number, or a list of them"]
    if kind == "array":
        return [f"list of {' or '.join(_takes(value['items']))}".replace("of section", "of sections")]
    if kind == "object" and isinstance(value.get("additionalProperties"), dict):
        return [f"names, each with {' or '.join(_takes(value['additionalProperties']))}"]
    return [_WORDS[kind] + _range(value)]


def _range(value: dict[str, Any]) -> str:
    bounds = {key: f"{value[key]:g}" if value[key] < 1e9 else str(value[key]) for key in _BOUNDS if key in value}
    if bounds.keys() == {"minimum", "maximum"}:
        return f" from {bounds['minimum']} to {bounds['maximum']}"
    return "".join(f", {_BOUNDS[key]} {bound}" for key, bound in bounds.items())

"""One setting of a run file given another value, or a name that is none: as it stands, or an error that names it."""

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from tests.fuzz.cases import Case, Outcome
from tests.fuzz.operators import VALUES, chance, pick
from tests.fuzz.refusing import refused
from tests.fuzz.settings import ODD, check_kept
from thumbline.pipeline.config import build_config, load_config
from thumbline.pipeline.config.keys import sections

_BASE: Final[dict[str, Any]] = {"name": "run", "model": "demo", "events": {"inputs": ["log.jsonl"]}}
# What lies just outside or inside most ranges, and values of the other types.
NEAR: Final = (
    "0", "1", "-1", "2", "0.0", "1.0", "0.5", "-0.5", "1.0000001", "true", "false", "null", "''", "' '", "[]", "{}",
    "[a]", "[1, 2]", "{a: 1}", "[[a]]", "{a: {b: 1}}", "[null]", "auto", "none", "dpo", "kto", "1e-5", "1e3", "+1",
    "10000000000000000000000", "0.1e-400", "a b", "../x", "~/x", "'\\0'", "\"\\0\"", "[red]", "'[/]'", "é", "1,2",
    "12 ", "{method: kto}", "[{method: kto}]", "[{method: nothing}]", "[{judge: length}]",
    "[{judge: votes, options: 1}]",
)  # fmt: skip
_UNKNOWN: Final = ("", " ", "Method", "learning-rate", "x.y", "0", "null", "[a]", "k" * 300, "é", "a\nb", "<<", "loss")


def _keys() -> list[str]:
    """Every setting of a run file and every section, by dotted name."""
    found = set()
    for place, section in sections().items():
        found |= {f"{place}.{name}".lstrip(".") for name in section.model_fields}
    return sorted(found)


KEYS: Final = [
    *_keys(), "train.loss.beta", "train.loss.none", "events.options.vote", "events.options.none",
    "generations.models.x", "splits.evaluation_sets.x", "reference.engine_args.seed",
]  # fmt: skip
# Errors of a text that is no YAML, or of more than settings are, have its place and no key.
_UNREAD: Final = ("not readable as YAML", "levels inside one another", "aliases (*name) counted out", "is a mapping of")


# Sections that a list holds.
_LISTED: Final = ("judges", "train.also")


class Keyed:
    """A whole run file in which one key is not as it was."""

    def make(self, random: np.random.Generator) -> Case:
        """A key with a value, as text of YAML, in the file or on the command line."""
        key = pick(random, KEYS)
        value = pick(random, [*NEAR, *NEAR, *ODD, *(json.dumps(value) for value in VALUES)])
        if chance(random, 0.15):
            key = ".".join([*key.split(".")[:-1], pick(random, _UNKNOWN)])
        place = "file" if key.rpartition(".")[0] in _LISTED else pick(random, ["file", "option"])
        return Case({}, {"key": key, "value": value, "in": place})

    def read(self, case: Case, folder: Path) -> Outcome:
        """Load it, and hold what was loaded against the file without the key."""
        key, value = case.settings["key"], case.settings["value"]
        given = tuple(key.split("."))
        path = folder / "run.yaml"
        options: tuple[str, ...] = (f"{key}={value}",) if case.settings["in"] == "option" else ()
        path.write_text(yaml.safe_dump(_BASE) if options else _with(given, value), "utf-8", "surrogatepass")
        found = []
        told = refused(lambda: found.append(load_config(path, options)))
        if told is not None:
            assert "\n" in value or _names(key, value, told), (
                f"{key}={value[:80]!r} is refused without its name: {told[:300]}"
            )
            return "refused"
        _check_others(given, found[0].model_dump(mode="json"))
        check_kept(found[0], folder / "kept")
        return "read"

    def settle(self) -> None:
        """Nothing is left."""


def _with(key: tuple[str, ...], value: str) -> str:
    """The run file with a key, whose value is written as it is."""
    document = json.loads(json.dumps(_BASE))
    target = document
    for depth, part in enumerate(key[:-1], start=1):
        held = target.setdefault(part, [{}] if ".".join(key[:depth]) in _LISTED else {})
        target = held[0] if isinstance(held, list) else held
    target[key[-1]] = "<value>"
    return yaml.safe_dump(document, sort_keys=False).replace("<value>", value)


def _names(key: str, value: str, told: str) -> bool:
    """Whether an error names the key or its section, or quotes the value, where the text could be read at all."""
    *_, section, last = ["", *key.split(".")]
    shown = [part[:40] for part in (section, last, value) if part.strip()]
    # Of a method that is none its weight cannot be looked at.
    return not last.strip() or any(part in told for part in (*shown, *_UNREAD, "Field required"))


def _check_others(key: tuple[str, ...], found: dict[str, Any]) -> None:
    """Every other setting is what it was."""
    usual = build_config(_BASE, origin="fuzz").model_dump(mode="json")
    if ".".join(key[:-1]) in _LISTED:
        key = key[:-1]
    for one in (found, usual):
        _remove(one, key)
        # Paths are those of the folder.
        one.pop("runs", None)
        one.get("events", {}).pop("inputs", None)
    assert found == usual, f"{'.'.join(key)} changed others too: {found} is not {usual}"


def _remove(document: Any, key: tuple[str, ...]) -> None:
    """Take a key out, and what holds nothing else: parts of a setting that takes any name are its own."""
    if not isinstance(document, dict) or key[0] not in document:
        return
    if len(key) > 1:
        _remove(document[key[0]], key[1:])
    if len(key) == 1 or document[key[0]] == {}:
        del document[key[0]]

"""A small log of every format, by its name in the registry: what detection, fuzzing and the golden files try."""

import copy
import importlib
import json
import pkgutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import tests.unit.importers
from tests.unit.importers import joined_logs, logs
from tests.unit.importers.joined_fixtures import FILES
from tests.unit.importers.test_argilla import COMPARED, RATINGS
from tests.unit.importers.test_convai2 import dialog
from tests.unit.importers.test_thumbs_jsonl import ROW
from tests.unit.importers.test_trl import LAYOUTS

THUMBS: Final = [
    ROW,
    ROW | {"event_id": "e3", "feedback": "thumbs_down", "user_id": "bob", "response": " 384,400 km. "},
    ROW | {"event_id": "e4", "feedback": None, "prompt": "And Mars?"},
    ROW | {"event_id": "e5", "feedback": "meh"},
    ROW,
]
_HEARD: Final = dialog(("Bot", "Hello!", 1), ("Human", "Who are you?", None), ("Bot", "A bot.", 0))


class Case(NamedTuple):
    """A log of one format.

    Attributes:
        write: Writes its files into a folder.
        options: What has to be stated for it.
    """

    write: Callable[[Path], object]
    options: Mapping[str, str] = {}


def lines(*rows: Mapping[str, Any]) -> Callable[[Path], object]:
    return lambda folder: logs.write_lines(folder / "log.jsonl", *copy.deepcopy(rows))


def _array(*rows: Mapping[str, Any]) -> Callable[[Path], object]:
    return lambda folder: (folder / "log.json").write_text(json.dumps(rows), encoding="utf-8")


def _joined(files: dict[str, list[joined_logs.Row]]) -> Callable[[Path], object]:
    return lambda folder: joined_logs.write(folder, files)


# A format whose log is more than a few rows has a module `fixtures_<format>` that writes one.
_WRITTEN: Final = {
    module.FORMAT: module.write
    for found in pkgutil.iter_modules(tests.unit.importers.__path__)
    if found.name.startswith("fixtures_")
    for module in [importlib.import_module(f"tests.unit.importers.{found.name}")]
}
_OPTIONS: Final = {"argilla": RATINGS | COMPARED}
CASES: Final[dict[str, Case]] = {
    "convai2": Case(_array(_HEARD, _HEARD | {"dialog": 7})),
    "trl": Case(lines(*LAYOUTS.values())),
    "thumbs_jsonl": Case(lines(*THUMBS)),
    **{name: Case(write, _OPTIONS.get(name, {})) for name, write in _WRITTEN.items()},
    **{name: Case(_joined(files)) for name, files in FILES.items()},
}

"""A small log of every format, written to a folder, with lines that no format takes where its files are lines."""

import copy
import csv
import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import polars as pl

from tests.property.test_importer_fuzz import OPTIONS as STATED
from tests.property.test_importer_fuzz import SIGNALS
from tests.unit.importers import joined_fixtures, joined_logs, logs
from tests.unit.importers.test_convai2 import dialog
from tests.unit.importers.test_registry import FIXTURES
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


class Log:
    """One golden log: what writes it, and the settings of the stage `events` that read it."""

    def __init__(self, format_name: str, write: Callable[[Path], object], **settings: Any) -> None:
        self.format = format_name
        self.write = write
        self.settings = {"format": format_name} | settings

    def inputs(self, folder: Path) -> list[str]:
        """Write the log into a new `folder`; the paths to read."""
        folder.mkdir()
        self.write(folder)
        if self.format == "hub":
            return [f"hub:./{folder.as_posix()}"]
        paths = sorted(folder.iterdir())
        for path in paths:
            if path.suffix == ".jsonl":
                path.write_bytes(path.read_bytes() + b'{broken\n[]\n{"other": 1}\n')
        return [path.as_posix() for path in paths]


def _lines(*rows: Mapping[str, Any]) -> Callable[[Path], object]:
    return lambda folder: logs.write_lines(folder / "log.jsonl", *copy.deepcopy(rows))


def _array(*rows: Mapping[str, Any]) -> Callable[[Path], object]:
    return lambda folder: (folder / "log.json").write_text(json.dumps(rows), encoding="utf-8")


def _joined(files: dict[str, list[joined_logs.Row]]) -> Callable[[Path], object]:
    return lambda folder: joined_logs.write(folder, files)


def _csv(folder: Path) -> None:
    with (folder / "log.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([list(ROW), *([row[name] for name in ROW] for row in THUMBS)])


def _parquet(folder: Path) -> None:
    pl.DataFrame(THUMBS).write_parquet(folder / "log.parquet")


def _gzip(folder: Path) -> None:
    text = "".join(json.dumps(row) + "\n" for row in THUMBS)
    (folder / "log.jsonl.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


LOGS: Final[dict[str, Log]] = {
    "hub": Log("hub", _lines(*THUMBS)),
    "convai2": Log("convai2", _array(_HEARD, _HEARD | {"dialog": 7})),
    "trl": Log("trl", _lines(*LAYOUTS.values())),
    "thumbs_jsonl": Log("thumbs_jsonl", _lines(*THUMBS)),
    "thumbs_jsonl in csv": Log("thumbs_jsonl", _csv),
    "thumbs_jsonl in parquet": Log("thumbs_jsonl", _parquet),
    "thumbs_jsonl in gzip": Log("thumbs_jsonl", _gzip),
    "thumbs_jsonl with signals": Log("thumbs_jsonl", _lines(*SIGNALS)),
    **{name: Log(name, write, options=STATED.get(name, {})) for name, write in FIXTURES.items()},
    **{name: Log(name, _joined(files)) for name, files in joined_fixtures.FILES.items()},
}

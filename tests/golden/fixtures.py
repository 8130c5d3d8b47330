"""A small log of every format, written to a folder, with lines that no format takes where its files are lines."""

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import polars as pl

from tests.property.test_importer_fuzz import SIGNALS
from tests.unit.importers.cases import CASES, THUMBS, lines
from tests.unit.importers.test_thumbs_jsonl import ROW


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


def _csv(folder: Path) -> None:
    with (folder / "log.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([list(ROW), *([row[name] for name in ROW] for row in THUMBS)])


def _parquet(folder: Path) -> None:
    pl.DataFrame(THUMBS).write_parquet(folder / "log.parquet")


def _gzip(folder: Path) -> None:
    text = "".join(json.dumps(row) + "\n" for row in THUMBS)
    (folder / "log.jsonl.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


LOGS: Final[dict[str, Log]] = {
    "hub": Log("hub", lines(*THUMBS)),
    "thumbs_jsonl in csv": Log("thumbs_jsonl", _csv),
    "thumbs_jsonl in parquet": Log("thumbs_jsonl", _parquet),
    "thumbs_jsonl in gzip": Log("thumbs_jsonl", _gzip),
    "thumbs_jsonl with signals": Log("thumbs_jsonl", lines(*SIGNALS)),
    **{name: Log(name, case.write, options=case.options) for name, case in CASES.items()},
}

"""A log.csv of Gradio: five names in its header over rows of four values."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path

from tests.unit.importers.logs import assistant, user

FORMAT = "gradio"
HEADER = ("conversation", "index", "value", "flag", "timestamp")
TIME = "2026-03-01 12:00:00.250000"
MESSAGES = [
    user("How far is the moon?") | {"metadata": None},
    assistant("384,400 km."),
    user("And\nMars?"),
    {"role": "assistant", "content": [{"type": "text", "text": 'It "varies".'}]},
]
ROWS = [
    (json.dumps(MESSAGES[:2]), "1", "Like", TIME),
    (json.dumps(MESSAGES), "3", "Dislike", TIME),
]


def write_log(folder: Path, rows: Iterable[tuple[object, ...]], header: tuple[str, ...] = HEADER) -> Path:
    path = folder / "log.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path


def write(folder: Path) -> Path:
    return write_log(folder, ROWS)

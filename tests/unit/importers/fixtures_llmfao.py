"""Votes of LLMFAO's crowd, and the pairs that they are about."""

import csv
from pathlib import Path
from typing import Any

from tests.unit.importers.logs import write_lines

FORMAT = "llmfao"
HEADER = ("id", "prompt", "model_x", "model_y", "worker", "winner", "left", "right")


def pair(pair_id: int, left: str, right: str, text: str = "How far is the moon?") -> dict[str, Any]:
    apart = {"prompt": 8, "type": "reflexion", "slug": "moon", "note": None, "model_x": 97, "model_y": 98}
    return {"id": pair_id, "text": text, "result_x": left, "result_y": right} | apart


PAIRS = (pair(0, "Far.", "384,400 km."), pair(1, "", "Yes"), pair(2, "No", " "))


def vote(pair_id: object, worker: object, winner: str) -> tuple[object, ...]:
    return (pair_id, 8, 97, 98, worker, winner, "M-A", "M-B")


def write_votes(folder: Path, *rows: tuple[object, ...]) -> Path:
    path = folder / "crowd-comparisons.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([HEADER, *rows])
    write_lines(folder / "pairs-crowd.jsonl", *PAIRS)
    return path


def write(folder: Path) -> Path:
    return write_votes(folder, vote(0, 5, "right"), vote(0, 6, "tie"), vote(0, 7, "left"), vote(1, 5, "tie"))

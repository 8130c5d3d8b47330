"""Tables of two answers a row: an AlpacaEval judge's annotations, and columns of somebody's own."""

import json
from pathlib import Path
from typing import Any

FORMAT = "two_answers"


def annotation(number: int, preference: object, **changes: Any) -> dict[str, Any]:
    """One annotation; the first answer is odd, the second even."""
    return {
        "instruction": f"Which river is number {number}?",
        "output_1": f"It is the Oder, number {number}.",
        "generator_1": "m-a",
        "output_2": f"Number {number} is the Ebro.",
        "generator_2": "m-b",
        "dataset": "rivers",
        "annotator": "judge-x",
        "preference": preference,
        **changes,
    }


def own(choice: object, **changes: Any) -> dict[str, Any]:
    """A row whose columns have names of its own."""
    return {
        "asked": "Which sea is warm?",
        "left_text": "The Red Sea.",
        "right_text": "The White Sea.",
        "choice": choice,
    } | changes


def write(folder: Path) -> Path:
    path = folder / "annotations.json"
    rows = [annotation(number, preference) for number, preference in enumerate((1, 2.0, 1.5, None, 1.002))]
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path

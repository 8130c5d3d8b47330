"""Rows of HelpSteer3's and of HelpSteer2's preferences."""

from pathlib import Path
from typing import Any

from tests.unit.importers.logs import user, write_lines

FORMAT = "helpsteer"


def third(preference: object = -2, **changes: Any) -> dict[str, Any]:
    individual = [{"score": -2, "reasoning": "Response 1 is clearer."}]
    return {
        "domain": "general",
        "language": "english",
        "context": [user("How far is the moon?")],
        "response1": "384,400 km.",
        "response2": "Far.",
        "overall_preference": preference,
        "individual_preference": individual,
        **changes,
    }


def second(preference: object = 1, **changes: Any) -> dict[str, Any]:
    texts = {"prompt": "How far is the moon?", "response_1": "384,400 km.", "response_2": "Far."}
    return {"split": "train", **texts, "preference_strength": preference, "preference_statement": "x", **changes}


def write(folder: Path) -> Path:
    return write_lines(folder / "preference.jsonl", third(), third(0), third(3, response2="A light second."))

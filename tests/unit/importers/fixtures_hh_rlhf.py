"""Transcripts of HH-RLHF's form, and its quirks."""

from pathlib import Path

from tests.unit.importers.logs import write_lines

FORMAT = "hh_rlhf"
BEFORE = "\n\nHuman: How far is the moon?\n\nAssistant: Far.\n\nHuman: How far exactly?\n\nAssistant:"


def row(chosen: str = BEFORE + " 384,400 km.", rejected: str = BEFORE + " Very far.\n\nReally.") -> dict[str, object]:
    return {"chosen": chosen, "rejected": rejected}


def write(folder: Path) -> Path:
    return write_lines(folder / "train.jsonl", row())

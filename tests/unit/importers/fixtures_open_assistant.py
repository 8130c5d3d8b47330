"""An Open-Assistant tree: three ranked replies to a question, thumbs, and a reply to the best."""

from pathlib import Path
from typing import Any

from tests.unit.importers.logs import write_lines

FORMAT = "open_assistant"


def message(message_id: str, role: str, text: str, *replies: dict[str, Any], **other: Any) -> dict[str, Any]:
    found = {"message_id": message_id, "text": text, "role": role, "lang": "en", "labels": None, "deleted": False}
    return found | {"rank": None, "emojis": None, "replies": list(replies)} | other


def tree(**of_the_best: Any) -> dict[str, Any]:
    more = message("u2", "prompter", "And Mars?", message("a4", "assistant", "It varies."))
    best = {"rank": 0, "emojis": {"+1": 3, "-1": 1, "_skip_reply": 2, "red_flag": 1}, "model_name": "m-a"}
    return message(
        "u1",
        "prompter",
        "How far is the moon?",
        message("a1", "assistant", "Far.", rank=2, emojis={"-1": 1}),
        message("a2", "assistant", "384,400 km.", more) | best | of_the_best,
        message("a3", "assistant", "About 384,000 km.", rank=1, emojis={"_skip_labeling": 4}),
    )


def write(folder: Path) -> Path:
    row = {"message_tree_id": "u1", "tree_state": "ready_for_export", "prompt": tree()}
    return write_lines(folder / "trees.jsonl", row)

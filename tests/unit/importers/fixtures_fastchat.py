"""FastChat's server log with an answer, thumbs and arena votes, and released battles."""

from pathlib import Path
from typing import Any

from tests.unit.importers.logs import assistant, user, write_lines

FORMAT = "fastchat"
TIME = 1_760_000_000.25


def state(*texts: str | None, conv_id: str = "c1", model: str = "m-a", **changes: Any) -> dict[str, Any]:
    """A state whose messages alternate, after one example of the template."""
    roles = ["USER", "ASSISTANT"]
    example = [["USER", "An example"], ["ASSISTANT", "Its answer"]]
    return {
        "template_name": "one_shot",
        "system_message": "A chat.",
        "roles": roles,
        "messages": example + [[roles[number % 2], text] for number, text in enumerate(texts)],
        "offset": 2,
        "conv_id": conv_id,
        "model_name": model,
        **changes,
    }


def vote(kind: str, *texts: str | None, **changes: Any) -> dict[str, Any]:
    found = state(*(texts or ("How far?", "Far.")))
    return {"tstamp": TIME, "type": kind, "model": "m-a", "state": found, "ip": "192.0.2.1", **changes}


def arena(kind: str, left: str = "Far.", right: str = "384,400 km.", **changes: Any) -> dict[str, Any]:
    states = [state("How far?", left, conv_id="l", model="m-a"), state("How far?", right, conv_id="r", model="m-b")]
    return {"tstamp": TIME, "type": kind, "models": ["", ""], "states": states, "ip": "192.0.2.1", **changes}


def battle(winner: object, **changes: Any) -> dict[str, Any]:
    return {
        "question_id": "q1",
        "model_a": "m-a",
        "model_b": "m-b",
        "winner": winner,
        "judge": "arena_user_1",
        "conversation_a": [user("How far?"), assistant("Far.")],
        "conversation_b": [user("How far?"), assistant("384,400 km.")],
        "turn": 1,
        "tstamp": TIME,
        **changes,
    }


def write(folder: Path) -> Path:
    rows = [
        vote("chat"),
        vote("upvote"),
        vote("downvote", "And Mars?", "No idea."),
        arena("rightvote"),
        arena("tievote"),
    ]
    return write_lines(folder / "conv.json", *rows)

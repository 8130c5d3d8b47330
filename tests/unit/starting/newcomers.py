"""Little logs as newcomers have them: votes, columns, times, delimiters and encodings of their own."""

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

_ANSWERS = (
    "Boil water and pour it over the leaves.",
    "Ask your neighbour; mine always has some ready.",
    "Cold is fine too.",
)
_MS = 1_714_550_400_000  # 1 May 2024


class Newcomer(NamedTuple):
    """One log.

    Attributes:
        name: Of its file.
        write: Puts it at a path.
        votes: Vote to events that a right reading gives.
        options: Some that the run file has to state.
        rejected: Rows that no reading can use.
    """

    name: str
    write: Callable[[Path], object]
    votes: Mapping[str, int]
    options: Mapping[str, str]
    rejected: int = 0


def rows(names: tuple[str, ...], votes: list[Any], **more: Callable[[int], Any]) -> list[dict[str, Any]]:
    """Two answers to each question, with a vote each, under three names."""
    return [
        {
            names[0]: f"How do I make {n // 2} cups of tea at home?",
            names[1]: _ANSWERS[n % len(_ANSWERS)] + f" Then wait for {n} minutes.",
            names[2]: vote,
            **{name: made(n) for name, made in more.items()},
        }
        for n, vote in enumerate(votes)
    ]


def lines(made: list[dict[str, Any]]) -> Callable[[Path], object]:
    return lambda path: path.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")


def array(made: list[dict[str, Any]]) -> Callable[[Path], object]:
    return lambda path: path.write_text(json.dumps(made), encoding="utf-8")


def sheet(made: list[dict[str, Any]], delimiter: str, encoding: str = "utf-8") -> Callable[[Path], object]:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(made[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(made)
    return lambda path: path.write_bytes(text.getvalue().encode(encoding))


def in_ms(n: int) -> int:
    return _MS + 60_000 * n


def who(n: int) -> str:
    return f"u{n % 4}"


NEWCOMERS = [
    Newcomer(
        "good_bad.jsonl",
        lines(rows(("question", "answer", "rating"), ["good", "bad", "good", "meh"] * 3, ts=in_ms, user=who)),
        {"up": 6, "down": 3, "unrated": 3},
        {"vote": "rating", "unrated": "meh", "created_at": "ts", "time_unit": "ms", "user_id": "user"},
    ),
    Newcomer(
        "yes_no.csv",
        sheet(rows(("Frage", "Antwort", "hilfreich"), ["Ja", "Nein", "Ja"] * 4), ";", "utf-16"),
        {"up": 8, "down": 4},
        {"prompt": "Frage", "completion": "Antwort", "vote": "hilfreich", "up": "Ja", "down": "Nein"},
    ),
    Newcomer(
        "one_zero.csv",
        sheet(rows(("prompt", "response", "helpful"), [1, 0, 0] * 4, userId=who), ","),
        {"up": 4, "down": 8},
        {"vote": "helpful", "up": "1", "down": "0", "user_id": "userId"},
    ),
    Newcomer(
        "stars.jsonl",
        lines(rows(("user_message", "bot_reply", "stars"), [5, 1, 3, 4, 2, 5] * 2)),
        {"up": 6, "down": 4, "unrated": 2},
        {"prompt": "user_message", "completion": "bot_reply", "up": ">=4", "down": "<=2", "unrated": "3"},
    ),
    Newcomer(
        "emoji.tsv",
        sheet(rows(("q", "a", "reaction"), ["👍", "👎", "😐", "❤️"] * 3), "\t"),
        {"up": 6, "down": 3, "unrated": 3},
        {"prompt": "q", "completion": "a", "vote": "reaction"},
    ),
    Newcomer(
        "liked.parquet",
        lambda path: pl.DataFrame(rows(("input", "output", "liked"), [True, False] * 6)).write_parquet(path),
        {"up": 6, "down": 6},
        {"prompt": "input", "completion": "output", "vote": "liked"},
    ),
    Newcomer(
        "sentiment.json",
        array(rows(("asked", "said", "sentiment"), ["Positive", "negative", "neutral"] * 4)),
        {"up": 4, "down": 4, "unrated": 4},
        {"prompt": "asked", "completion": "said", "unrated": "neutral"},
    ),
    Newcomer(
        "nameless.csv",
        sheet(rows(("field_1", "field_2", "field_3"), ["like", "dislike"] * 6), ","),
        {"up": 6, "down": 6},
        {"prompt": "field_1", "completion": "field_2", "vote": "field_3"},
    ),
    Newcomer(
        "windows.csv",
        sheet(rows(("prompt", "answer", "vote"), ["up", "down"] * 6, city=lambda _: "Zürich"), ";", "cp1252"),
        {"up": 6, "down": 6},
        {"encoding": "cp1252"},
    ),
    Newcomer(
        "labels.jsonl",
        lines(rows(("prompt", "completion", "label"), ["correct", "wrong", "", "correct"] * 3)),
        {"up": 6, "down": 3},
        {"up": "correct", "down": "wrong"},
        rejected=3,
    ),
    Newcomer(
        "score.jsonl",
        lines(rows(("prompt", "response", "score"), [n / 20 for n in range(20)])),
        {"up": 6, "down": 9},
        {"vote": "score", "up": ">=0.7", "down": "<=0.4"},
        rejected=5,
    ),
    Newcomer(
        "roles.jsonl",
        lines(rows(("user", "assistant", "rating"), [5, 1, 2] * 4)),
        {"up": 4, "down": 8},
        {"prompt": "user", "completion": "assistant", "vote": "rating", "user_id": ""},
    ),
    Newcomer(
        "two_votes.jsonl",
        lines(rows(("prompt", "response", "rating"), [1, 2, 5] * 4, feedback=lambda n: "up" if n % 3 == 2 else "down")),
        {"up": 4, "down": 8},
        {"vote": "feedback"},
    ),
]

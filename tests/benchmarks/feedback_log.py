"""A thumbs log of any size: Zipf prompts, duplicates, changed votes, and one line in 100 broken.

    python -m tests.benchmarks.feedback_log --events 1000000 --out log.jsonl

The same seed gives the same bytes. The text is words of no meaning in the lengths of real chats: about 1.1 kB a line.
"""

import argparse
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np

_CHUNK_EVENTS: Final = 10_000
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_MODELS: Final = ("assistant-2026-01", "assistant-2026-02", "assistant-small")
_ZIPF_SHARE: Final = 0.4
_ZIPF_PROMPTS: Final = 20_000
_UNRATED_SHARE: Final = 0.35
_DUPLICATE_SHARE: Final = 0.02
_CHANGED_SHARE: Final = 0.02
_BROKEN_SHARE: Final = 0.01
_REPEATED_ANSWER_SHARE: Final = 0.25
_FEEDBACK: Final = (None, "thumbs_up", "thumbs_down")
# What a text holds beside plain words: the escapes, accents and line breaks that a reader must get right.
_SPICE: Final = (
    "\n\n",
    "\n- ",
    ' "quoted" ',
    " caf\u00e9 ",
    " \u2014 ",
    " \U0001f642 ",
    "\t",
    ' {"key": 1} ',
    " \\alpha ",
)


def feedback_lines(events: int, seed: int = 0) -> Iterator[bytes]:
    """Lines of a log, each with its line end.

    Args:
        events: How many lines; those that are delivered twice and those that are broken are among them.
        seed: Draws everything.
    """
    random = np.random.default_rng(seed)
    words = _vocabulary(random)
    popular = [_text(random, words, int(size)) for size in random.integers(4, 40, _ZIPF_PROMPTS)]
    weights = 1.0 / np.arange(1, _ZIPF_PROMPTS + 1) ** 0.9
    places = np.cumsum(weights / weights.sum())
    for first in range(0, events, _CHUNK_EVENTS):
        count = min(_CHUNK_EVENTS, events - first)
        yield from _chunk(random, words, popular, places, first, count)


def _chunk(
    random: np.random.Generator, words: np.ndarray, popular: list[str], places: np.ndarray, first: int, count: int
) -> Iterator[bytes]:
    """Some lines: what is repeated repeats a line of the same chunk."""
    draws = random.random((count, 4))
    prompts = np.searchsorted(places, random.random(count))
    users = (random.random(count) ** 3 * 500_000).astype(np.int64)
    sizes = random.integers(40, 190, count)
    rows: list[dict[str, Any]] = []
    for index in range(count):
        kind, prompt_kind, vote, again = draws[index]
        if rows and kind < _DUPLICATE_SHARE:
            yield _line(rows[int(again * len(rows))])
            continue
        if rows and kind < _DUPLICATE_SHARE + _CHANGED_SHARE:
            row = _changed(rows[int(again * len(rows))], first + index)
        else:
            hot = prompt_kind < _ZIPF_SHARE
            prompt = popular[prompts[index]] if hot else _text(random, words, 6 + int(sizes[index]) // 5)
            row = _row(first + index, int(users[index]), prompt, float(vote))
            # Popular questions get the same answer now and then, so that votes gather on it.
            sampled = (
                np.random.default_rng(int(prompts[index]) * 8 + index % 8)
                if hot and again < _REPEATED_ANSWER_SHARE
                else random
            )
            row["response"] = _text(sampled, words, int(sizes[index] if sampled is random else 120))
        rows.append(row)
        line = _line(row)
        yield _broken(line, row, index) if kind > 1.0 - _BROKEN_SHARE else line


def _vocabulary(random: np.random.Generator) -> np.ndarray:
    letters = np.array(list("eeeetttaaooiinnsshhrrdlucmfwygpbvk"))
    return np.array(
        ["".join(random.choice(letters, int(size))) for size in random.integers(2, 10, 4_000)], dtype=object
    )


def _text(random: np.random.Generator, words: np.ndarray, size: int) -> str:
    places = (random.random(size) ** 2 * len(words)).astype(np.int64)
    text = " ".join(words[places].tolist())
    if size > 100:
        middle = text.find(" ", len(text) // 2)
        text = text[:middle] + _SPICE[size % len(_SPICE)] + text[middle + 1 :]
    return text.capitalize() + "."


def _row(number: int, user: int, prompt: str, vote: float) -> dict[str, Any]:
    rated = (vote - _UNRATED_SHARE) / (1.0 - _UNRATED_SHARE)
    return {
        "event_id": f"event-{number:010d}",
        "timestamp": (_START + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "conversation_id": f"conversation-{number // 3:09d}",
        "user_id": f"user-{user:06d}",
        "model": _MODELS[number % len(_MODELS)],
        "prompt": prompt,
        "response": "",
        "feedback": _FEEDBACK[0 if rated < 0 else 1 if rated < 0.6 else 2],
    }


def _changed(row: dict[str, Any], number: int) -> dict[str, Any]:
    """The same user's vote on the same answer, turned around, as a later event."""
    turned = {"thumbs_up": "thumbs_down", "thumbs_down": "thumbs_up", None: "thumbs_up"}
    later = (_START + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return row | {"event_id": f"event-{number:010d}", "timestamp": later, "feedback": turned[row["feedback"]]}


def _line(row: dict[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode() + b"\n"


def _broken(line: bytes, row: dict[str, Any], number: int) -> bytes:
    """The line, as real logs break: cut, mistyped, without a field, with one twice, half a character."""
    broken = (
        lambda: line[: len(line) // 2] + b"\n",
        lambda: _line(row | {"response": 17}),
        lambda: _line({name: value for name, value in row.items() if name != "response"}),
        lambda: b'{"feedback": null, ' + line[1:],
        lambda: line.replace(b'"prompt": "', b'"prompt": "\\ud83d '),
        lambda: _line(row | {"feedback": "meh"}),
        lambda: _line(row | {"response": "  "}),
        lambda: line.replace(b'"prompt": "', b'"prompt": "\\u0000'),
    )
    return broken[number % len(broken)]()


def write_log(path: Path, events: int, seed: int = 0) -> None:
    """Write a log of `events` lines."""
    with path.open("wb", buffering=1 << 20) as stream:
        stream.writelines(feedback_lines(events, seed))


def main() -> None:
    """Write a log."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    write_log(arguments.out, arguments.events, arguments.seed)
    print(f"{arguments.out}: {arguments.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

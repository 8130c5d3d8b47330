"""Makes the sample thumbs log from its recorded completions, byte for byte the same on every machine.

Run it from the repository root; it takes seconds:

    python -m data.make_sample_log

The answers are real samples of a language model. The voters are not people: each is one row of `RATERS`, and
votes on whether an answer is one paragraph (`data/criterion.py`), with that row's errors. README.md is the card.
"""

import argparse
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from data.criterion import is_one_paragraph
from data.sample_dirt import Delivery, deliver

SAMPLE = Path(__file__).parent / "sample"
SEED = 20260302
MODEL = "smollm2-135m-instruct"
START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
PERIOD_SECONDS = 14 * 24 * 3600
SECONDS_BETWEEN_ANSWERS = 45
UNRATED_SHARE = 0.25
# Shares of rated answers with one, two and three voters: 2.3 on average.
VOTER_SHARES = ((1, 0.10), (2, 0.50), (3, 0.40))
CHANGED_SHARE = 0.04
RETRACTED_SHARE = 0.03


class Rater(NamedTuple):
    """One simulated voter.

    Attributes:
        user_id: The name in the log.
        manner: In a word or two.
        up_if_met: Probability of a thumb up where the answer meets the criterion.
        up_if_not: The same where it does not.
        activity: How often this voter is drawn, relative to the others.
    """

    user_id: str
    manner: str
    up_if_met: float
    up_if_not: float
    activity: float


RATERS = (
    Rater("amara", "careful", 0.97, 0.03, 12.0),
    Rater("bela", "careful", 0.97, 0.03, 12.0),
    Rater("chidi", "careful", 0.97, 0.03, 12.0),
    Rater("dana", "steady", 0.92, 0.08, 10.0),
    Rater("emre", "steady", 0.92, 0.08, 10.0),
    Rater("fay", "steady", 0.92, 0.08, 10.0),
    Rater("goran", "hasty", 0.85, 0.15, 8.0),
    Rater("hina", "hasty", 0.85, 0.15, 8.0),
    Rater("ivo", "careless", 0.70, 0.30, 6.0),
    Rater("jun", "always up", 1.0, 1.0, 4.0),
    Rater("kofi", "always down", 0.0, 0.0, 4.0),
    Rater("lena", "contrarian", 0.10, 0.90, 3.0),
)


class Answer(NamedTuple):
    """One answer shown to users, at a time."""

    conversation_id: str
    prompt: str
    response: str
    shown_at: datetime


class Event(NamedTuple):
    """One feedback event before it gets its id and is delivered.

    Attributes:
        at: When the user clicked, or when an answer that nobody rated was shown.
        answer: What was rated.
        user_id: Who rated it.
        feedback: As in the log; None where nobody rated it.
        kind: `vote`, `first_vote` (changed later), `retraction` or `unrated`.
    """

    at: datetime
    answer: Answer
    user_id: str
    feedback: str | None
    kind: str


class SampleLog(NamedTuple):
    """The log's bytes and what is in it."""

    data: bytes
    counts: dict[str, Any]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Objects of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def make_log(completions: list[dict[str, Any]], seed: int = SEED) -> SampleLog:
    """The log of all completions, and its counts.

    Args:
        completions: Rows with `prompt` and `completion`, the answers to one prompt adjacent.
        seed: Draws everything; only `Random.random` is used, which is the same in every Python version.
    """
    generator = Random(seed)
    events = sorted(
        (event for answer in _answers(completions, generator) for event in _events(answer, generator)),
        key=lambda event: (event.at, event.answer.conversation_id, event.answer.response, event.user_id),
    )
    rows = [_row(number, event) for number, event in enumerate(events, start=1)]
    delivery = deliver(rows, generator)
    return SampleLog(b"".join(line + b"\n" for line in delivery.lines), _counts(events, delivery))


def _answers(completions: list[dict[str, Any]], generator: Random) -> Iterator[Answer]:
    """One conversation a prompt: its answers are regenerations, shown one after the other."""
    for number, (prompt, rows) in enumerate(groupby(completions, key=lambda row: row["prompt"]), start=1):
        opened_at = START + timedelta(seconds=_seconds(generator, 0, PERIOD_SECONDS))
        for turn, row in enumerate(rows):
            shown_at = opened_at + timedelta(seconds=turn * SECONDS_BETWEEN_ANSWERS)
            yield Answer(f"conversation-{number:03d}", prompt, row["completion"], shown_at)


def _events(answer: Answer, generator: Random) -> Iterator[Event]:
    """What users did with one answer: nothing, or a vote of each of one to three voters."""
    if generator.random() < UNRATED_SHARE:
        viewer = _weighted(generator, [(rater, rater.activity) for rater in RATERS])
        yield Event(answer.shown_at, answer, viewer.user_id, None, "unrated")
        return
    for rater in _voters(generator, _weighted(generator, VOTER_SHARES)):
        yield from _votes(answer, rater, generator)


def _votes(answer: Answer, rater: Rater, generator: Random) -> Iterator[Event]:
    """One voter's events on one answer: a vote, rarely changed from its opposite before or retracted after."""
    up_share = rater.up_if_met if is_one_paragraph(answer.response) else rater.up_if_not
    up = generator.random() < up_share
    at = answer.shown_at + timedelta(seconds=_seconds(generator, 5, 36 * 3600))
    later = at + timedelta(seconds=_seconds(generator, 60, 3600))
    change = generator.random()
    if change < CHANGED_SHARE:
        yield Event(at, answer, rater.user_id, _feedback(not up), "first_vote")
        yield Event(later, answer, rater.user_id, _feedback(up), "vote")
        return
    retracted = change < CHANGED_SHARE + RETRACTED_SHARE
    yield Event(at, answer, rater.user_id, _feedback(up), "first_vote" if retracted else "vote")
    if retracted:
        yield Event(later, answer, rater.user_id, "retracted", "retraction")


def _feedback(up: bool) -> str:
    return "thumbs_up" if up else "thumbs_down"


def _voters(generator: Random, count: int) -> list[Rater]:
    """Different voters, the active ones more often."""
    left = list(RATERS)
    drawn = []
    for _ in range(count):
        drawn.append(_weighted(generator, [(rater, rater.activity) for rater in left]))
        left.remove(drawn[-1])
    return drawn


def _weighted(generator: Random, shares: Any) -> Any:
    """One of the (value, weight) pairs' values."""
    place = generator.random() * sum(weight for _, weight in shares)
    for value, weight in shares:
        place -= weight
        if place < 0:
            return value
    return shares[-1][0]


def _seconds(generator: Random, low: int, high: int) -> int:
    return low + int(generator.random() * (high - low))


def _row(number: int, event: Event) -> dict[str, Any]:
    return {
        "event_id": f"event-{number:05d}",
        "timestamp": event.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "conversation_id": event.answer.conversation_id,
        "user_id": event.user_id,
        "model": MODEL,
        "prompt": event.answer.prompt,
        "response": event.answer.response,
        "feedback": event.feedback,
    }


def _counts(events: list[Event], delivery: Delivery) -> dict[str, Any]:
    """Everything that a reader of the log can be checked against."""
    answers: dict[Answer, list[Event]] = {event.answer: [] for event in events}
    for event in events:
        if event.kind == "vote":
            answers[event.answer].append(event)
    votes = [{vote.feedback for vote in cast} for cast in answers.values()]
    kinds = [event.kind for event in events]
    return {
        "lines": len(delivery.lines),
        "events": len(events),
        "duplicate_lines": delivery.duplicates,
        "late_lines": delivery.late,
        "broken_lines": delivery.broken,
        "conversations": len({answer.conversation_id for answer in answers}),
        "answers": len(answers),
        "answers_in_one_paragraph": sum(is_one_paragraph(answer.response) for answer in answers),
        "answers_unrated": kinds.count("unrated"),
        "answers_with_a_standing_vote": sum(bool(cast) for cast in votes),
        "answers_with_both_votes": sum(len(cast) == 2 for cast in votes),
        "votes_standing": kinds.count("vote"),
        "votes_changed": kinds.count("first_vote") - kinds.count("retraction"),
        "votes_retracted": kinds.count("retraction"),
        "feedback": {
            str(name).lower().replace("none", "null"): sum(event.feedback == name for event in events)
            for name in ("thumbs_up", "thumbs_down", "retracted", None)
        },
        "raters": {rater.user_id: _rater_counts(rater, events) for rater in RATERS},
    }


def _rater_counts(rater: Rater, events: list[Event]) -> dict[str, int]:
    own = [event for event in events if event.kind == "vote" and event.user_id == rater.user_id]
    against = sum((event.feedback == "thumbs_up") != is_one_paragraph(event.answer.response) for event in own)
    return {"votes": len(own), "against_the_criterion": against}


def main() -> None:
    """Writes the log and its counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--completions", type=Path, default=SAMPLE / "completions.jsonl")
    parser.add_argument("--out", type=Path, default=SAMPLE, help="folder of thumbs.jsonl and counts.json")
    arguments = parser.parse_args()
    log = make_log(read_rows(arguments.completions))
    (arguments.out / "thumbs.jsonl").write_bytes(log.data)
    (arguments.out / "counts.json").write_bytes(json.dumps(log.counts, indent=2).encode() + b"\n")
    print(f"{arguments.out / 'thumbs.jsonl'}: {log.counts['lines']:,} lines, {log.counts['events']:,} events")


if __name__ == "__main__":
    main()

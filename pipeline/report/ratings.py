"""The page on judged pairs: which model is preferred to which, ratings of all with intervals, and what was not read."""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import polars as pl

from thumbline.evaluators import Metric

from .figures.canvas import Picture
from .figures.evaluation import Dot, dot_picture
from .formatting import interval, measure, number, percent, plural
from .inputs import Source
from .metrics_json import SCHEMA_VERSION, metric_json
from .page import render_template

# More models than this make a picture too long to read; the table has them all.
_DRAWN: Final = 25
_WIN_RATE: Final = "win_rate"
_OF_JUDGES: Final = ("position_bias", "self_agreement", "ties")


class RatingRow(NamedTuple):
    """What one judge's verdicts say of one model.

    Attributes:
        model: The model.
        rating: Its rating, or why it has none.
        overall: Share of all its comparisons that it won.
        against: Share won against the model that ratings are against; None for that model.
        p_value: Whether that differs from one half; None where they never met.
        at_one_length: Share won against it at equal lengths; None where lengths are not known.
    """

    model: str
    rating: Metric
    overall: Metric
    against: Metric | None
    p_value: Metric | None
    at_one_length: Metric | None


class JudgeSection(NamedTuple):
    """What one judge said.

    Attributes:
        judge: Its name.
        anchor: The model that ratings are against.
        rows: Models from the highest rating to the lowest, those without one last.
        facts: Ties, position bias and self-agreement.
        picture: Ratings with intervals; None where no other model has one.
    """

    judge: str
    anchor: str
    rows: tuple[RatingRow, ...]
    facts: tuple[Metric, ...]
    picture: Picture | None


@dataclass(frozen=True)
class RatingsFacts:
    """All that the page says.

    Attributes:
        title: Heading.
        run_name: What was read.
        generated_at: When, ISO 8601.
        command: The command line that made it.
        confidence: Mass of every interval.
        tone: `better`, `same`, `worse` or `unknown`.
        sentence: What follows, in one sentence.
        notes: What was read, and what was not.
        judges: One section a judge.
        sources: Files.
        metrics: Every number.
    """

    title: str
    run_name: str
    generated_at: str
    command: str
    confidence: float
    tone: str
    sentence: str
    notes: tuple[str, ...]
    judges: tuple[JudgeSection, ...]
    sources: tuple[Source, ...]
    metrics: tuple[Metric, ...]


def ratings_facts(metrics: pl.DataFrame, confidence: float, **named: Any) -> RatingsFacts:
    """What the page says.

    Args:
        metrics: As `evaluate_judged` gives them.
        confidence: Mass of every interval.
        named: title, run_name, generated_at, command, notes and sources.
    """
    rows = tuple(Metric(**row) for row in metrics.select(Metric._fields).iter_rows(named=True))
    judges = tuple(_section(judge, rows) for judge in dict.fromkeys(str(row.judge) for row in rows))
    tone, sentence = _verdict(judges[0], confidence)
    return RatingsFacts(confidence=confidence, tone=tone, sentence=sentence, judges=judges, metrics=rows, **named)


def render_ratings(facts: RatingsFacts) -> str:
    """The page as one HTML document: the same facts give the same bytes."""
    return render_template("ratings.html.j2", facts=facts)


def ratings_json(facts: RatingsFacts, versions: dict[str, str]) -> dict[str, Any]:
    """The same document as of an evaluation, `metrics.schema.json`; there is no reward."""
    anchor = facts.judges[0].anchor
    names = sorted(row.model for row in facts.judges[0].rows)
    return {
        "schema_version": SCHEMA_VERSION,
        "name": facts.run_name,
        "generated_at": facts.generated_at,
        "command": facts.command,
        "versions": versions,
        "reward": None,
        "confidence": facts.confidence,
        "subject": facts.judges[0].rows[0].model,
        "baseline": anchor,
        "models": [{"name": name, "digest": None, "engine": None, "dtype": None} for name in names],
        "sources": [source._asdict() for source in facts.sources],
        "verdict": {"tone": facts.tone, "sentence": facts.sentence},
        "metrics": [metric_json(row) for row in facts.metrics],
    }


def _section(judge: str, metrics: tuple[Metric, ...]) -> JudgeSection:
    own = [row for row in metrics if row.judge == judge]
    by_name = {(row.metric, row.model): row for row in own}
    ratings = [row for row in own if row.metric == "rating"]
    ratings.sort(key=lambda row: (row.value is None, -(row.value or 0.0), row.model))
    anchor = next((str(row.compared_with) for row in own if row.compared_with), ratings[0].model)
    rows = tuple(
        RatingRow(
            row.model,
            row,
            by_name["win_rate_overall", row.model],
            by_name.get((_WIN_RATE, row.model)),
            by_name.get(("win_rate_p", row.model)),
            by_name.get(("length_controlled_win_rate", row.model)),
        )
        for row in ratings
    )
    facts = tuple(row for row in own if row.metric in _OF_JUDGES and row.compared_with is None)
    return JudgeSection(judge, anchor, rows, facts, _picture(judge, anchor, rows))


def _picture(judge: str, anchor: str, rows: tuple[RatingRow, ...]) -> Picture | None:
    rated = [row.rating for row in rows if row.rating.value is not None]
    if len(rated) < 2:
        return None
    dots = [
        Dot(row.model, float(row.value or 0.0), row.ci_low, row.ci_high, main=row.model == anchor)
        for row in rated[:_DRAWN]
    ]
    more = f" The highest {_DRAWN} of {len(rated)}." if len(rated) > _DRAWN else ""
    caption = f"Ratings by {judge}, with their intervals; {anchor} stands at 1,000.{more}"
    name = "ratings-" + "".join(letter if letter.isalnum() else "-" for letter in judge.lower())
    return dot_picture(name, dots, unit="points", chance=1000.0, caption=caption)


def _verdict(section: JudgeSection, confidence: float) -> tuple[str, str]:
    """Tone and sentence: of two models who is preferred, of more who stands first and how clearly."""
    if len(section.rows) == 2:
        return _of_two(section, confidence)
    first, *others = [row for row in section.rows if row.rating.value is not None]
    unrated = len(section.rows) - 1 - len(others)
    rest = f" {plural(unrated, 'model')} cannot be rated." if unrated else ""
    low = first.rating.ci_low
    near = [row for row in others if low is None or row.rating.ci_high is None or row.rating.ci_high >= low]
    spread = interval(low, first.rating.ci_high, "points")
    said = f"{first.model} has the highest rating, {measure(first.rating.value, 'points')}"
    said += f" ({100 * confidence:g}% interval {spread})" if low is not None else ""
    if not others:
        return "unknown", f"{first.model} alone can be rated.{rest}"
    if near:
        return "same", f"{said}; the intervals of {plural(len(near), 'other model')} reach into its own.{rest}"
    return "better", f"{said}, above every other model's interval.{rest}"


def _of_two(section: JudgeSection, confidence: float) -> tuple[str, str]:
    row = next(row for row in section.rows if row.model != section.anchor)
    share, tested = row.against, row.p_value
    assert share is not None and tested is not None, "of two models each pair is of both"
    level = 1.0 - confidence
    clear = tested.value is not None and tested.value < level and share.value != 0.5
    tone = "same" if not clear else "better" if (share.value or 0.0) > 0.5 else "worse"
    words = {"better": "is preferred to", "same": "cannot be told from", "worse": "is preferred less than"}[tone]
    spread = interval(share.ci_low, share.ci_high, "share")
    return tone, (
        f"{row.model} {words} {section.anchor}: it wins {percent(share.value)} of {plural(share.n, 'comparison')}, "
        f"ties half ({100 * confidence:g}% interval {spread}; exact test by prompt group, p {number(tested.value)})."
    )

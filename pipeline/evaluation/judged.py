"""Judged pairs to win rates, ratings, and the files that say them to people and programs."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import polars as pl

from thumbline.evaluators import EvaluationError, EvaluationSettings, evaluate_judged

from ..errors import ConfigError, InputError, unknown_name
from ..report.ratings import RatingsFacts, ratings_facts, ratings_json, render_ratings
from ..report.run_facts import versions, write_files
from ..storage.files import make_folder, remove_temporary
from ..storage.parquet import write_parquet
from ..storage.tables import write_table
from .gate import Condition, Gated, floor_conditions, parse_floor
from .judged_rows import JudgedPairs
from .junit import write_junit
from .outcome import Choices, chosen_settings
from .request import Request

_TITLE = "thumbline ratings"


class JudgedOutcome(NamedTuple):
    """An evaluation of judged pairs.

    Attributes:
        pairs: What was evaluated.
        settings: How.
        metrics: Table `metrics`.
    """

    pairs: JudgedPairs
    settings: EvaluationSettings
    metrics: pl.DataFrame

    def compared(self) -> list[str]:
        """Models that are compared with another: all but the baseline."""
        others = self.metrics.filter(pl.col("compared_with").is_not_null())
        return others["model"].unique().sort().to_list()


def check_judged_request(request: Request) -> None:
    """Refuse options that are about log-probs.

    Raises:
        ConfigError: One is given.
    """
    wrong = {
        "--no-worse-than": request.gate.no_worse_than is not None,
        "--unpaired": request.unpaired is not None,
        "--slice": bool(request.reading.slices),
        "--rating": request.reading.rating is not None,
        ", ".join(f"--{name}" for name in request.trackers): bool(request.trackers),
    }
    for option, given in wrong.items():
        if given:
            raise ConfigError(f"evaluate: {option} is not for judged pairs, which {request.rows} holds.")


def evaluate_pairs(pairs: JudgedPairs, choices: Choices) -> JudgedOutcome:
    """Win rates and ratings.

    Raises:
        ConfigError: A choice is out of range, or the baseline is none of the models.
        InputError: The rows cannot be evaluated.
    """
    names = pl.concat([pairs.frame["model_a"], pairs.frame["model_b"]]).unique().sort().to_list()
    if choices.baseline is not None and choices.baseline not in names:
        raise ConfigError(f"--baseline: {unknown_name('model', choices.baseline, names)}")
    settings = chosen_settings(choices, EvaluationSettings())
    try:
        return JudgedOutcome(pairs, settings, evaluate_judged(pairs.frame, settings))
    except EvaluationError as error:
        raise InputError(f"{pairs.name}: {error}") from error


def facts_of(outcome: JudgedOutcome, command: str) -> RatingsFacts:
    """What the page says."""
    return ratings_facts(
        outcome.metrics,
        outcome.settings.confidence,
        title=_TITLE,
        run_name=outcome.pairs.name,
        generated_at=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        notes=outcome.pairs.notes,
        sources=outcome.pairs.sources,
    )


def write_judged(outcome: JudgedOutcome, output: Path, command: str) -> RatingsFacts:
    """Write metrics, the pairs as read, and the page to the folder `output`; returns what the page says.

    Raises:
        InputError: The folder cannot be made.
    """
    make_folder(output)
    remove_temporary(output)
    write_table(output / "metrics.parquet", "metrics", outcome.metrics)
    write_parquet(output / "judged.parquet", outcome.pairs.frame)
    facts = facts_of(outcome, command)
    document = json.dumps(ratings_json(facts, versions()), indent=2, ensure_ascii=False) + "\n"
    write_files(output, {"report.html": render_ratings(facts), "metrics.json": document})
    return facts


def check_judged_gate(request: Request, outcome: JudgedOutcome) -> list[Condition]:
    """Every condition with its numbers, written as JUnit XML where that is asked for.

    Raises:
        ConfigError: A condition names no metric.
    """
    floors = [parse_floor(text) for text in request.gate.floors]
    gated = Gated(outcome.metrics, tuple(outcome.compared()), outcome.settings.confidence)
    conditions = floor_conditions(gated, floors)
    if request.gate.junit is not None:
        write_junit(request.gate.junit, outcome.pairs.name, conditions)
    return conditions

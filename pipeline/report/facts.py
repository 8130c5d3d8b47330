"""All that a report says, as plain values: the page draws it, `report_json` writes it."""

import math
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final, NamedTuple

from ..evidence.launch import Plan
from .answers_facts import AnswersFacts, ThumbsFacts, answers_facts, thumbs_facts
from .data_facts import DataFacts, data_facts
from .evaluation_facts import EvaluationFacts, evaluation_facts
from .examples import Examples, examples
from .formatting import count, number, plural
from .inputs import Missing, ReportInputs
from .launch_facts import launch_facts
from .lineage import Lineage, lineage
from .training_facts import TrainingFacts, training_facts
from .verdict import Verdict, verdict
from .worst_losses import WorstLosses, worst_losses

# Raised whenever a key of the JSON changes its place or meaning.
SCHEMA_VERSION: Final = 1


class Tile(NamedTuple):
    """One number of the summary."""

    label: str
    value: str
    detail: str


@dataclass(frozen=True)
class ReportFacts:
    """All that a report says."""

    title: str
    run_name: str
    generated_at: str
    notes: tuple[str, ...]
    verdict: Verdict
    tiles: tuple[Tile, ...]
    data: DataFacts
    training: TrainingFacts
    evaluation: EvaluationFacts
    examples: Examples | Missing
    answers: AnswersFacts | Missing
    losses: WorstLosses | Missing
    thumbs: ThumbsFacts | Missing
    launch: Plan | Missing
    lineage: Lineage


def collect_facts(inputs: ReportInputs) -> ReportFacts:
    """Everything that the report says about `inputs`."""
    data, evaluation = data_facts(inputs), evaluation_facts(inputs)
    return ReportFacts(
        title=inputs.title,
        run_name=inputs.run_name,
        generated_at=inputs.generated_at,
        notes=inputs.notes,
        verdict=verdict(inputs, evaluation),
        tiles=_tiles(inputs, data, evaluation),
        data=data,
        training=training_facts(inputs),
        evaluation=evaluation,
        examples=examples(inputs, evaluation.subject),
        answers=answers_facts(inputs, evaluation),
        losses=worst_losses(inputs, evaluation),
        thumbs=thumbs_facts(inputs, evaluation),
        launch=launch_facts(inputs),
        lineage=lineage(inputs),
    )


def as_json(facts: ReportFacts) -> dict[str, Any]:
    """The facts as JSON values, with the version of their layout.

    Keys: schema_version, title, run_name, generated_at, notes, verdict (tone, word, sentence, basis, flags, measure,
    decided_by, statements, next_steps), tiles, data (steps, splits, pair_yield, rejects), training (parity, curves,
    details), evaluation (measures, models, subject, baseline), examples, answers (sides, judges, texts, price, slices,
    further), losses (judge, worst, lost, prompts), thumbs (quality, parts, reliability, predicted, rates), launch
    (basis, needs, alpha, traffic, assumed), lineage (stages, settings, yaml, digests, versions, commands). A part that
    could not be made is an object with the one key `missing`: why. A number that does not exist is null.
    """
    return {"schema_version": SCHEMA_VERSION, **_plain(facts)}


def _plain(value: Any) -> Any:
    """`value` as JSON knows it: dataclasses and named tuples as objects, numbers that are not finite as text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _plain(part) for name, part in value._asdict().items()}
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _tiles(inputs: ReportInputs, data: DataFacts, evaluation: EvaluationFacts) -> tuple[Tile, ...]:
    tiles = [*_step_tiles(data), *_split_tiles(data)]
    tiles += _scored_tiles(inputs)
    if inputs.config is not None:
        beta = "" if inputs.beta is None else f"beta {number(inputs.beta, 2)}"
        tiles.append(Tile("Method", inputs.config.train.method.upper(), beta))
        tiles.append(Tile("Model", inputs.config.model, inputs.config.revision or ""))
    elif evaluation.models:
        tiles.append(Tile("Models", count(len(evaluation.models)), ", ".join(evaluation.models)))
    return tuple(tiles)


def _step_tiles(data: DataFacts) -> list[Tile]:
    if isinstance(data.steps, Missing):
        return []
    names = {"events": "Events", "responses": "Responses", "unpaired": "Labelled rows"}
    details = {"events": "log rows", "responses": "events", "unpaired": "responses"}
    return [
        Tile(
            names[step.stage],
            count(step.rows_out),
            # A log row may give several events: those are not a part of the rows.
            f"{'of' if step.given == step.rows_in else 'from'} {count(step.rows_in)} {details[step.stage]}",
        )
        for step in data.steps
        if step.stage in names
    ]


def _split_tiles(data: DataFacts) -> list[Tile]:
    if isinstance(data.splits, Missing):
        return []
    tiles = []
    for name, label in (("pairs", "Pairs"), ("unpaired", "Unpaired rows")):
        sizes = [getattr(split, name) for split in data.splits]
        if None not in sizes:
            parts = " · ".join(f"{count(size)} {split.split}" for size, split in zip(sizes, data.splits, strict=True))
            tiles.append(Tile(label, count(sum(sizes)), parts))
    return tiles


def _scored_tiles(inputs: ReportInputs) -> list[Tile]:
    """How many held-out rows of each kind were scored: one tile, since both come from the same prompts."""
    parts, groups = [], set[str]()
    for table, key, noun in (("scored_pairs", "pair_id", "pair"), ("scored_unpaired", "response_id", "row")):
        frame = inputs.tables.get(table)
        if frame is not None and not frame.is_empty():
            parts.append(plural(frame[key].n_unique(), noun))
            groups.update(frame["group_id"].unique().to_list())
    if not parts:
        return []
    return [Tile("Held out, scored", parts[0], ", ".join([*parts[1:], plural(len(groups), "prompt group")]))]

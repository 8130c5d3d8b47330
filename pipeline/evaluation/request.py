"""What `thumbline evaluate` is asked for, checked as a whole before any work starts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..context import Reporter
from ..errors import ConfigError
from ..storage.files import check_place
from ..tracking import require_tracker
from .asked import AnswerOptions, ask_models, check_answers
from .gate import Condition, check_floors, check_no_worse, parse_floor
from .judged_rows import is_judged
from .junit import write_junit
from .outcome import Choices, Outcome, settings_of
from .rows import ReadOptions
from .scoring import ScoringOptions, score_subject
from .stored import read_subject, run_folder
from .subject import Subject, of_files
from .trackers import log_outcome


class Gate(NamedTuple):
    """Conditions that the evaluation has to meet.

    Attributes:
        floors: `metric=value`, each.
        no_worse_than: A run, the folder of an evaluation, or scored pairs; None for no such condition.
        allowed_loss: The loss in accuracy that is still no loss; None: any that is not beyond doubt.
        junit: Where the conditions are written as JUnit XML; None for nowhere.
    """

    floors: tuple[str, ...] = ()
    no_worse_than: str | None = None
    allowed_loss: float | None = None
    junit: Path | None = None


@dataclass(frozen=True)
class Request:
    """One evaluation.

    Attributes:
        rows: A run, scored rows, or pairs; None where only `unpaired` is given.
        unpaired: Scored unpaired rows.
        models: Models that score the pairs; none for rows that are scored already.
        reference: The model that rewards are measured against.
        reading: How pairs are read; its slices count for scored rows too.
        scoring: How pairs are scored.
        gate: What the evaluation has to meet.
        answers: How the models are asked for answers of their own; None: they are not.
        trackers: Names of trackers, each with the project or experiment, or for TensorBoard the folder, to log to.
    """

    rows: str | None
    unpaired: Path | None
    models: tuple[str, ...]
    reference: str | None
    reading: ReadOptions
    scoring: ScoringOptions
    gate: Gate
    answers: AnswerOptions | None = None
    trackers: Mapping[str, str] = field(default_factory=dict)


def check_request(request: Request) -> None:
    """Refuse what cannot be done before any model is loaded.

    Raises:
        ConfigError: Options do not go together, or one has no such form.
        InputError: What `no_worse_than` names cannot be read, or `junit` names what is no file.
        OSError: `junit` cannot be written.
        MissingDependencyError: A tracker is asked for that is not installed.
    """
    gate = request.gate
    faults = {
        "give a run, scored rows, or pairs with --model; or --unpaired.": not (request.rows or request.unpaired),
        "--reference scores pairs beside --model; give a model too.": bool(request.reference and not request.models),
        "--model scores the pairs of ROWS; give a file of pairs or hub:ID.": bool(request.models and not request.rows),
        "--unpaired is for rows that are scored already, without --model.": bool(request.models and request.unpaired),
        "--rating names what rates the answers that --model scores; give a model.": request.reading.rating is not None
        and not request.models,
        "--samples asks the models that --model names; give one or more.": bool(request.answers and not request.models),
        "--allowed-loss belongs to --no-worse-than.": gate.allowed_loss is not None and gate.no_worse_than is None,
        "--junit writes the conditions of --fail-under and --no-worse-than; give one of them.": gate.junit is not None
        and not (gate.floors or gate.no_worse_than),
    }
    for message, broken in faults.items():
        if broken:
            raise ConfigError(f"evaluate: {message}")
    if gate.junit is not None:
        check_place(gate.junit)
    if request.answers is not None:
        check_answers(request.answers, len(asked_models(request)))
    for floor in gate.floors:
        parse_floor(floor)
    if gate.no_worse_than is not None:
        read_subject(gate.no_worse_than)
    for name in request.trackers:
        require_tracker(name, f"--{name}")


def is_judged_request(request: Request) -> bool:
    """Whether it is about a file of judged pairs, which are not scored by any model here."""
    scored_here = bool(request.models) or request.reference is not None or request.answers is not None
    return request.rows is not None and not scored_here and is_judged(request.rows)


def asked_models(request: Request) -> list[str]:
    """The models of the request, the reference with them."""
    return [*request.models, *([] if request.reference is None else [request.reference])]


def read_request(request: Request, reporter: Reporter, choices: Choices) -> Subject:
    """The rows that the request is about, scored where they have to be, and answers where models are asked for some.

    Raises:
        ConfigError: An option does not hold.
        InputError: Rows or a model cannot be used.
        PipelineError: A judge cannot go on.
    """
    subject = _scored(request, reporter)
    if request.answers is None:
        return subject
    baseline = settings_of(subject, choices).baseline
    return ask_models(subject, asked_models(request), request.answers, request.scoring, baseline, reporter)


def _scored(request: Request, reporter: Reporter) -> Subject:
    slices = request.reading.slices
    if request.models and request.rows is not None:
        return score_subject(
            request.rows, request.models, request.reference, request.reading, request.scoring, reporter
        )
    if request.unpaired is None and request.rows is not None:
        return read_subject(request.rows, slices)
    if request.rows is not None and (run_folder(request.rows) is not None or Path(request.rows).is_dir()):
        raise ConfigError("evaluate: --unpaired goes with a Parquet file of scored pairs; a folder has its own rows.")
    return of_files(
        pairs=None if request.rows is None else Path(request.rows), unpaired=request.unpaired, slices=slices
    )


def check_gate(request: Request, outcome: Outcome) -> list[Condition]:
    """Every condition with its numbers, written as JUnit XML where that is asked for.

    Raises:
        ConfigError: A condition names no metric.
        InputError: What is compared with has other rows.
    """
    gate = request.gate
    conditions = check_floors(outcome, [parse_floor(text) for text in gate.floors])
    if gate.no_worse_than is not None:
        conditions += check_no_worse(outcome, gate.no_worse_than, gate.allowed_loss)
    if gate.junit is not None:
        write_junit(gate.junit, outcome.subject.name, conditions)
    return conditions


def track(request: Request, outcome: Outcome) -> None:
    """Log to the trackers that are asked for."""
    for name, place in request.trackers.items():
        log_outcome(outcome, name, place)

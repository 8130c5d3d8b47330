"""Which step of a training is kept by what its answers say: `train.choose: frontier`.

Each validation point answers prompts of the validation split. The first judge says how often it wins against the
untrained model, and the untrained model how strange its answers are. Of the points that are surely better, the one that
pays least language is kept. The test split is not looked at.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import polars as pl

from thumbline.evaluators import (
    MOST_BROKEN,
    AnswerTables,
    EvaluationSettings,
    FrontierPoint,
    cheapest_surely_better,
    evaluate_answers,
    frontier_points,
)

from ..config import JudgeConfig, RunConfig
from ..context import Reporter, StageContext
from ..engines.generating import AnswerModel, Asking, generate
from ..engines.scoring import SCRATCH
from ..errors import InputError
from ..judges.asking import BASELINE, ask, of_run, with_prompts
from ..judges.base import Surroundings
from ..tables import polars_schema
from .asked import asking, drawn, held_out_prompts, untrained_model

if TYPE_CHECKING:
    from .adapters import Base
    from .keeping import Ending
    from .policy import Policy

# The split whose prompts choose: the other held-out one judges the run.
SPLIT: Final = "validation"
_POINTS: Final = "points"


class Candidate(NamedTuple):
    """A step's model.

    Attributes:
        step: After which its weights are.
        model: Who answers.
    """

    step: int
    model: AnswerModel


class Chosen(NamedTuple):
    """Which step is kept, and what was known of each.

    Attributes:
        step: The cheapest that is surely better; None where none is.
        points: One a step: `FrontierPoint`'s fields and `step`, as JSON values.
        said: What a person should read.
        judge: Who decided.
        prompts: How many prompts were answered.
    """

    step: int | None
    points: list[dict[str, Any]]
    said: list[str]
    judge: str
    prompts: int

    def notes(self) -> dict[str, Any]:
        """The same for the manifest."""
        return self._asdict()

    def ending(self, ending: "Ending") -> "Ending":
        """How the training ended, with the step that was chosen."""
        if self.step is None:
            return ending
        why = f"step {self.step}, the cheapest validation point that {self.judge} finds surely better"
        return ending._replace(kept_step=self.step, kept=why)


def choose_step(
    context: StageContext, untrained_dir: Path, base: "Base | None", untrained: "Callable[[], Policy]"
) -> Chosen:
    """Let the weights of every validation point answer, and choose.

    Args:
        context: Of the train stage, in whose folder they wait.
        untrained_dir: Folder of the untrained model.
        base: What a trained adapter is for, where it is written alone.
        untrained: Makes the policy before its first step.

    Raises:
        InputError: The validation split has no prompt.
    """
    config = context.config
    every = held_out_prompts(context, SPLIT)
    if every.is_empty():
        raise InputError(f"train.choose: frontier: no prompt of the {SPLIT} split has a row with a sequence.")
    prompts = drawn(every, config.generations.prompts, config.generations.seed)
    surroundings = of_run(
        config, context.reporter, lambda: context.read("responses", ["response_id", "n_up", "n_down"])
    )
    with _candidates(context, untrained_dir, base, untrained) as candidates:
        return choose(
            candidates,
            untrained_model(config),
            prompts,
            asking(config),
            config.judges[0],
            surroundings,
            evaluation_settings(config),
            context.reporter,
            config.report.most_broken,
        )


@contextmanager
def _candidates(
    context: StageContext, untrained_dir: Path, base: "Base | None", untrained: "Callable[[], Policy]"
) -> "Iterator[list[Candidate]]":
    """The model of each validation point, written as the trained model will be, until the block ends."""
    from .best import best_steps, load_best
    from .checkpoints import put_weights, save_model

    folder, config = context.folder / SCRATCH / _POINTS, context.config
    engine = config.reference.model_copy(update={"adapter": None})
    candidates = []
    try:
        for step in best_steps(context.folder):
            policy, place = untrained(), folder / str(step)
            put_weights(policy.model, load_best(context.folder, step))
            save_model(policy, untrained_dir, place, base)
            label = f"step {step}"
            if base is None:
                model = AnswerModel(label, place, engine, untrained_dir)
            else:
                adapted = config.reference.model_copy(update={"adapter": str(place)})
                model = AnswerModel(label, untrained_dir, adapted, untrained_dir)
            candidates.append(Candidate(step, model))
        yield candidates
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def choose(
    candidates: Sequence[Candidate],
    untrained: AnswerModel,
    prompts: pl.DataFrame,
    how: Asking,
    judge: JudgeConfig,
    surroundings: Callable[[JudgeConfig], Surroundings],
    settings: EvaluationSettings,
    reporter: Reporter,
    most_broken: float = MOST_BROKEN,
) -> Chosen:
    """Let every candidate answer, and choose.

    Args:
        candidates: At least one.
        untrained: The model that they are compared with.
        prompts: Table `generation_prompts`, of prompts that no candidate was trained on and that judge no run.
        how: How they are asked.
        judge: Who decides.
        surroundings: What a judge may look at.
        settings: Resamples and confidence; slices are left out.
        reporter: Where progress goes.
        most_broken: What repeats itself or is empty may rise by this share of answers.
    """
    steps = {candidate.model.label: candidate.step for candidate in candidates}
    made = generate(prompts, [untrained, *(candidate.model for candidate in candidates)], how, reporter)
    judged = ask(with_prompts(made.frame, prompts), [judge], surroundings, reporter)
    tables = AnswerTables(
        prompts, made.frame, judged.judgements, judged.judged_pairs, pl.DataFrame(schema=polars_schema("thumbs_scores"))
    )
    points = frontier_points(evaluate_answers(tables, settings), judge.called, BASELINE, most_broken)
    best = cheapest_surely_better(points, settings.confidence)
    step = None if best is None else steps[best.model]
    rows = sorted(({"step": steps[point.model], **_as_json(point)} for point in points), key=_by_step)
    said = [*made.said, *judged.notes["said"], _sentence(step, len(rows), judge.called)]
    return Chosen(step, rows, said, judge.called, prompts.height)


def evaluation_settings(config: RunConfig) -> EvaluationSettings:
    """Resamples, confidence and seed of the run's metrics."""
    metrics = config.metrics
    return EvaluationSettings(
        bootstrap_draws=metrics.bootstrap_draws, confidence=metrics.confidence, seed=metrics.seed, baseline=BASELINE
    )


def _as_json(point: FrontierPoint) -> dict[str, Any]:
    return point._asdict() | {"broken": list(point.broken)}


def _by_step(row: Mapping[str, Any]) -> int:
    return int(row["step"])


def _sentence(step: int | None, points: int, judge: str) -> str:
    tried = "its one validation point" if points == 1 else f"its {points} validation points"
    if step is None:
        return f"train.choose: {judge} finds none of {tried} surely better; the weights of the last step are kept."
    return f"train.choose: of {tried}, step {step} is the cheapest that {judge} finds surely better, and is kept."

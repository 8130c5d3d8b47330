"""What a run's method trains towards, and on what: rows of the log, or answers that the policy samples."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from thumbline.evaluators.types import RowKind

from ..context import StageContext
from .goal import Goal
from .mapped import MappedRows
from .methods import main_method, row_kinds
from .objective import objective_of
from .policy import Policy
from .rollouts.opening import opened
from .rows import Row
from .step import ON_ROWS, Stepping
from .stored import class_counts, of_split


class Learning(NamedTuple):
    """What the loop is given beside the policy.

    Attributes:
        objective: What is trained towards.
        hyper_parameters: Of the method.
        stepping: What a step does with its rows.
        rows: By split.
        notes: Further facts for the report.
    """

    objective: Goal
    hyper_parameters: dict[str, Any]
    stepping: Stepping
    rows: Mapping[str, Sequence[Row]]
    notes: dict[str, Any]


def logged_kind(context: StageContext) -> RowKind:
    """Kind of the log's rows that are trained on; of a method on prompts, that of the rows the parity gate compares."""
    kinds = row_kinds(context.config)
    held = (kind for kind in kinds if len(kinds) == 1 or of_split(context, "train", (), kind).height)
    return next(held, kinds[0])


@contextmanager
def learnt(
    context: StageContext, policy: Policy, rows: dict[str, MappedRows[Row]], own_attention: str, model_dir: Path
) -> Iterator[Learning]:
    """The method on the log's rows, or on answers that the policy samples.

    Args:
        context: Of the train stage.
        policy: The untrained policy in its layout.
        rows: The log's rows by split.
        own_attention: What the policy attends by outside that layout.
        model_dir: Folder of the untrained model.

    Raises:
        EngineError: A model that scores answers cannot be loaded.
        TrainingError: There is no prompt to train on.
    """
    if main_method(context.config.train).spec.samples_answers:
        with opened(context, policy, own_attention, model_dir) as found:
            method = main_method(context.config.train)
            yield Learning(found.objective, asdict(method.config), found.stepping, found.rows, found.notes)
        return
    objective = objective_of(context.config.train, *class_counts(rows["train"]))
    yield Learning(objective, asdict(objective.method.config), ON_ROWS, rows, {})

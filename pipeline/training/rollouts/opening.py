"""From a run's settings to what trains on rollouts: models loaded, prompts read, all closed at the end."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ...config import RunConfig
from ...context import StageContext
from ...engines.encoding import encoder_for
from ...engines.ending import context_tokens, end_token_ids
from ...engines.registry import choose_sampler
from ...engines.sampling import SamplingSettings
from ...engines.scoring import SCRATCH
from ...engines.thumbs_model import open_thumbs_model
from ..policy import Policy
from ..rows import Row
from .answers import Writer
from .objective import RolloutObjective, rollout_objective
from .prompts import Prompts, training_prompts
from .reference import Reference
from .sampling import AnswerSource, Places, PolicySampler, VLLMPolicySampler
from .stepping import RolloutStepping
from .values import add_values, take_out_values


class Opened(NamedTuple):
    """What the optimiser loop takes.

    Attributes:
        objective: What an update is trained towards.
        stepping: What a step does.
        rows: Prompts by split.
        notes: Facts for the report.
    """

    objective: RolloutObjective
    stepping: RolloutStepping
    rows: dict[str, Sequence[Row]]
    notes: dict[str, Any]


@contextmanager
def opened(context: StageContext, policy: Policy, own_attention: str, model_dir: Path) -> Iterator[Opened]:
    """Everything beside the policy; afterwards its model holds nothing but itself.

    Args:
        context: Of the train stage.
        policy: The untrained policy, adapter included, in its layout.
        own_attention: What it attends by outside that layout.
        model_dir: Folder of the untrained model.

    Raises:
        EngineError: A model cannot be loaded.
        TrainingError: There is no prompt to train on.
    """
    config, train = context.config, context.config.train
    objective, most = rollout_objective(train), context_tokens(model_dir)
    longest = None if most is None else most - train.rollouts.max_new_tokens
    rows = training_prompts(context, longest)
    folder = thumbs_folder(config)
    reference = Reference(policy)
    if objective.spec.has_values:
        add_values(policy, train, folder)
    ends = end_token_ids(model_dir, encoder_for(model_dir, config.sequences))
    drawn = SamplingSettings(train.rollouts.max_new_tokens, 1.0, 1.0, 0, ends)
    thumbs = open_thumbs_model(folder, str(policy.device), config.thumbs.dtype)
    engine = choose_sampler(train.rollouts.engine, "train.rollouts.engine")
    source: AnswerSource
    if engine == "hf":
        source = PolicySampler(policy, own_attention, drawn, config.reference.batch_tokens)
    else:
        places = Places(context.folder / SCRATCH / "weights", max(map(_longest, rows.values())))
        source = VLLMPolicySampler(policy, model_dir, config.reference, drawn, places)
    try:
        writer = Writer(source, thumbs, reference, train.rollouts, train.seed)
        held = 2 + reference.holds_weights + (objective.spec.has_values and train.rollouts.value_model == "thumbs")
        notes = {"models_in_memory": held, "sampled_by": engine}
        yield Opened(objective, RolloutStepping(objective, writer), dict(rows), notes)
    finally:
        source.close()
        thumbs.close()
        take_out_values(policy)


def _longest(prompts: Prompts) -> int:
    lengths = prompts.table["prompt_token_ids"].list.len().max()
    return 0 if lengths is None else int(str(lengths))


def thumbs_folder(config: RunConfig) -> Path:
    """Where the run's thumbs model lies."""
    return config.run_dir / "thumbs" / "thumbs_model"

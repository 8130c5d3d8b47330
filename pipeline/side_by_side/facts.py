"""What methods take: as tutorials' one table has it, as their own descriptions say, and as it was measured."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Final, NamedTuple

from ..errors import PipelineError
from ..planning.estimate import estimate
from ..planning.models import model_config
from ..planning.operations import Operations, operations
from ..planning.tracing import Traces
from ..planning.work import Stated, any_work
from ..training.methods import main_method
from .arms import Arm, Plan
from .budget import answer_tokens
from .running import ArmTrial


class Told(NamedTuple):
    """What a tutorial's table says of a method.

    Attributes:
        models: Models in memory.
        phases: What is trained one after the other.
        pairs: Whether it takes pairs.
    """

    models: int
    phases: str
    pairs: bool


# As the papers and their tutorials say it, of training without stored log-probs: RLHF holds policy, reference, reward
# and value model (Ouyang et al. 2022), RLOO no value model (Ahmadian et al. 2024), DPO and its kin policy and reference
# (Rafailov et al. 2023), KTO the same without pairs (Ethayarajh et al. 2024), ORPO and SimPO the policy alone.
FOLK: Final[Mapping[str, Told]] = {
    "sft": Told(1, "SFT", pairs=False),
    "dpo": Told(2, "SFT, DPO", pairs=True),
    "ipo": Told(2, "SFT, IPO", pairs=True),
    "kto": Told(2, "SFT, KTO", pairs=False),
    "orpo": Told(1, "ORPO", pairs=True),
    "simpo": Told(1, "SFT, SimPO", pairs=True),
    "ppo": Told(4, "SFT, reward model, PPO", pairs=True),
    "rloo": Told(3, "SFT, reward model, RLOO", pairs=True),
}


class Needs(NamedTuple):
    """What a method needs here.

    Attributes:
        title: Name as papers write it.
        reference: `stored log-probs` or `none`.
        rows: What it trains on.
        phases: What is trained for it in this comparison.
        models: Models in memory while the policy trains.
    """

    title: str
    reference: str
    rows: str
    phases: str
    models: str


def needs_of(arm: Arm) -> Needs:
    """What an arm's method needs, by its own description."""
    spec = arm.spec
    if spec.samples_answers:
        # Answers are scored as they are sampled: reference and reward model are in memory, or share an adapter's base.
        return Needs(spec.title, "as it samples", spec.data, f"thumbs model, {spec.title}", spec.weights_held)
    rows = "liked answers" if spec.liked_only else "pairs" if spec.paired else "thumbs"
    reference = "stored log-probs" if spec.needs_reference else "none"
    return Needs(spec.title, reference, rows, spec.title, "1x")


class Cost(NamedTuple):
    """What an arm's training took, over its seeds.

    Attributes:
        train_seconds: Mean seconds of training; None where no trial is done.
        all_seconds: Mean seconds with scoring, sampling and judging.
        peak_memory_gib: Highest memory of any of its trainings; None where none was measured.
        flops: Floating-point operations of training, as the plan counts them, over all steps; None where it cannot. Of
            a method that samples its answers with those of sampling and scoring.
        sampling_flops: Those of them that sampled answers.
        scoring_flops: Those that scored answers under the thumbs model, the policy and the reference.
        why_no_flops: Why there are none.
    """

    train_seconds: float | None
    all_seconds: float | None
    peak_memory_gib: float | None
    flops: float | None
    sampling_flops: float | None
    scoring_flops: float | None
    why_no_flops: str | None


def costs(plan: Plan, trials: Sequence[ArmTrial]) -> dict[str, Cost]:
    """What each arm took, by its name."""
    found, traces = {}, None
    for arm in plan.arms:
        own = [trial for trial in trials if trial.arm == arm.name and trial.result.status == "done"]
        done: list[Operations] = []
        why = None
        if own:
            try:
                traces = traces or Traces(model_config(plan.config))
                done = [_operations(traces, trial) for trial in own]
            except PipelineError as error:
                why = str(error)
        seconds = [trial.train_seconds for trial in own if trial.train_seconds is not None]
        peaks = [trial.peak_memory_gib for trial in own if trial.peak_memory_gib is not None]
        found[arm.name] = Cost(
            fmean(seconds) if seconds else None,
            fmean(trial.result.seconds for trial in own) if own else None,
            max(peaks) if peaks else None,
            fmean(one.total for one in done) if done else None,
            fmean(one.sampling for one in done) if done else None,
            fmean(one.scoring for one in done) if done else None,
            why,
        )
    return found


def _operations(traces: Traces, trial: ArmTrial) -> Operations:
    """Those of a trial's training: of one step, by its tokens, times the steps; answers as long as they were."""
    config, lengths = trial.config, Stated()
    if main_method(config.train).spec.samples_answers:
        lengths = Stated(completion_tokens=max(1, round(answer_tokens(config))))
    with any_work(config, lengths, traces.layout(config.train)) as work:
        step = operations(estimate(traces, config.train, work, "cpu").trace, work)
    return Operations(*(part * trial.steps.steps for part in step))

"""Arms, from the start or from where they were: shared stages once, then trial by trial, each measured as it trains."""

import ctypes
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple, TypeAlias

from ..config import RunConfig
from ..context import Reporter
from ..errors import TrainingError
from ..line import Finished, fingerprint_of, locked, read_stage, select
from ..storage.documents import read_document, write_document
from ..storage.files import make_folder, remove_temporary
from ..sweep.plan import LAST_SHARED, TRIALS, Trial
from ..sweep.shared import Done, check_shared, run_shared
from ..sweep.trials import TrialResult, drop_model, run_trial
from .arms import Plan, Steps
from .budget import steps_of, taken_tokens

MEASURED: Final = "measured.json"


class ArmTrial(NamedTuple):
    """One trial of an arm.

    Attributes:
        arm: The arm's name.
        seed: `train.seed`.
        steps: How long it trained.
        result: What became of it.
        train_seconds: What training took, whenever it ran; None where it failed.
        peak_memory_gib: Highest memory of the process, or of the GPU's allocator, while it trained; None where it was
            not measured from beginning to end.
    """

    arm: str
    seed: int
    steps: Steps
    result: TrialResult
    train_seconds: float | None
    peak_memory_gib: float | None

    @property
    def config(self) -> RunConfig:
        """The run that it is."""
        return self.result.trial.config


Step: TypeAlias = Done | ArmTrial


def run_arms(
    plan: Plan,
    reporter: Reporter,
    command: str,
    *,
    retry: bool,
    check: Callable[[Plan], None] = lambda _: None,
) -> Iterator[Step]:
    """Run what is not done, yielding each shared stage and each trial.

    What is done is found again: killed anywhere, the same call goes on. A trial that fails is recorded, and the others
    go on.

    Args:
        plan: What to do.
        reporter: Where progress goes.
        command: The command line, kept with each run.
        retry: Try failed trials again.
        check: Called once the shared stages are done; it may refuse what they show.

    Raises:
        PipelineError: What the shared stages say, or that every trial failed.
    """
    check_shared(plan)
    make_folder(plan.output / TRIALS)
    failures: list[ArmTrial] = []
    done = 0
    with locked(plan.output):
        remove_temporary(plan.output)
        yield from run_shared(plan, reporter, command)
        check(plan)
        for seed in plan.seeds:
            lengths = steps_of(plan, seed)
            for arm in plan.arms:
                trial = plan.trial(arm, seed, lengths[arm.name].steps)
                ended = _trained(plan, trial, lengths[arm.name], reporter, command, retry=retry)
                done += ended.result.status == "done"
                failures += [ended] if ended.result.status == "failed" else []
                yield ended
    if not done:
        first = failures[0]
        raise TrainingError(f"all {len(failures)} trainings failed. The first, {first.arm}: {first.result.error}")


def _trained(plan: Plan, trial: Trial, steps: Steps, reporter: Reporter, command: str, *, retry: bool) -> ArmTrial:
    meter = _Meter(trial.config)
    result = run_trial(trial, plan.base.run_dir, reporter, command, retry=retry, look=meter.look)
    if plan.keep == "none":
        drop_model(trial.config)
    (train,) = select("train", "train")
    manifest = read_stage(trial.config, train) if result.status == "done" else None
    seconds = None if manifest is None else manifest.seconds
    steps = taken_tokens(trial.config, steps) if result.status == "done" else steps
    return ArmTrial(trial.setting, trial.seed, steps, result, seconds, peak_of(trial.config))


class _Meter:
    """Keeps the highest memory of a trial's training beside it, where all of that ran in this process."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        # What another process did of this training, that one measured.
        self._whole = not (config.run_dir / "train.partial").exists()

    def look(self, finished: Finished) -> None:
        """Called after each stage."""
        if finished.stage.name == LAST_SHARED:
            _release()
        if finished.stage.name == "train" and finished.action == "ran" and self._whole:
            _keep_peak(self._config)


def _keep_peak(config: RunConfig) -> None:
    # Imported here, so that a command that finds everything done does not wait for torch.
    from ..training.policy import choose_device
    from ..training.speed import peak_memory_gib

    document = {
        "fingerprint": _fingerprint(config),
        "peak_memory_gib": peak_memory_gib(choose_device(config.train.device)),
    }
    write_document(config.run_dir / MEASURED, document)


def peak_of(config: RunConfig) -> float | None:
    """The highest memory of a trial's training; None where it was not measured, or what says so is damaged."""
    document = read_document(config.run_dir / MEASURED)
    try:
        is_its_own = document is not None and document["fingerprint"] == _fingerprint(config)
        return float(document["peak_memory_gib"]) if document is not None and is_its_own else None
    except (KeyError, TypeError, ValueError):
        return None


def _fingerprint(config: RunConfig) -> str:
    (train,) = select("train", "train")
    return fingerprint_of(config, train)


def _release() -> None:
    """Give back what trainings before took, so that it is not counted again as this one's."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
    # glibc keeps what was freed; other systems have no such call, and count it.
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)

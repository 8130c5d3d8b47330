"""One trial: run as far as its metrics, found where it was done before, recorded where it failed."""

import gc
import json
import shutil
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

from thumbline.evaluators import FrontierPoint

from ..config import RunConfig
from ..context import Reporter
from ..errors import BusyError, PipelineError, TrainingError
from ..hiding import without_secrets
from ..line import Finished, Stage, fingerprint_of, read_stage, recorded, run, select
from ..peers import peers
from ..storage.files import write_text
from ..storage.manifests import partial_dir
from ..storage.tables import read_table
from ..troubles import is_of_disk
from .frontier import judge_of, point_of
from .measures import Value, values_of
from .plan import LAST_OF_TRIAL, LAST_SHARED, Trial

FAILURE: Final = "failure.json"
# Errors may stand behind each other in a circle.
_MOST_FRAMES: Final = 200


class TrialResult(NamedTuple):
    """What became of a trial.

    Attributes:
        trial: The trial.
        status: Whether it was trained and scored, or failed.
        values: Measures of the validation split by name; none of a failed trial.
        error: Why it failed; None where it did not.
        seconds: What its stages took, whenever they ran.
        found: Whether it was there already.
        point: What its answers win and pay; None where they were not judged.
    """

    trial: Trial
    status: Literal["done", "failed"]
    values: Mapping[str, Value]
    error: str | None
    seconds: float
    found: bool
    point: FrontierPoint | None = None


def run_trial(
    trial: Trial,
    base: Path,
    reporter: Reporter,
    command: str,
    *,
    retry: bool,
    look: Callable[[Finished], None] = lambda _: None,
) -> TrialResult:
    """Train and score one trial, unless that is done, or failed before and is not to be tried again.

    Args:
        trial: The trial.
        base: Folder of the run whose stages up to the reference it takes.
        reporter: Where progress goes.
        command: The command line, kept in its folder.
        retry: Try again what failed before.
        look: Called with each stage as it is done.

    Raises:
        OSError: The disk is full, or a file cannot be written: no fault of this trial.
        MachineError: The same, as a library says it.
        BusyError: Another process is at work in its folder.
        TrainingError: It failed, and took the other processes of a command of several along.
    """
    if is_done(trial.config):
        return _done(trial, found=True)
    failure = None if retry else failure_of(trial.config)
    if failure is not None:
        return TrialResult(trial, "failed", {}, failure, 0.0, found=True)
    try:
        for finished in run(trial.config, _stages(), reporter=reporter, command=command, source=base):
            look(finished)
    except (OSError, BusyError):
        raise
    # Whatever a library says of one setting must not end the others.
    except Exception as error:
        if is_of_disk(error):
            # It fails all settings alike.
            raise
        said = _record(trial.config, error)
        if peers() is not None:
            raise TrainingError(
                f"{trial.name}: {said} The other processes of this command have left with it; the same command goes on "
                f"with the next trial."
            ) from error
        return TrialResult(trial, "failed", {}, said, 0.0, found=False)
    finally:
        _release_memory()
    (trial.config.run_dir / FAILURE).unlink(missing_ok=True)
    return _done(trial, found=False)


def _stages() -> tuple[Stage, ...]:
    return select(None, LAST_OF_TRIAL)


def is_done(config: RunConfig) -> bool:
    """Whether a trial was trained and scored as it would be now; its model may have been deleted since."""
    return (config.run_dir / LAST_OF_TRIAL / "metrics.parquet").is_file() and recorded(config, _stages())


def _done(trial: Trial, *, found: bool) -> TrialResult:
    metrics = read_table(trial.config.run_dir / LAST_OF_TRIAL / "metrics.parquet", "metrics")
    manifests = [read_stage(trial.config, stage) for stage in select("train", LAST_OF_TRIAL)]
    seconds = sum(manifest.seconds for manifest in manifests if manifest is not None)
    values = values_of(metrics, judge_of(trial.config))
    return TrialResult(trial, "done", values, None, seconds, found, point_of(metrics, trial.config))


def failure_of(config: RunConfig) -> str | None:
    """Why a trial failed when it was last tried just so; None where it did not, or the record of it is damaged."""
    path = config.run_dir / FAILURE
    if not path.is_file() or not recorded(config, select(None, LAST_SHARED)):
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        failed, error = str(document["fingerprint"]), str(document["error"])
    except (ValueError, KeyError, TypeError, RecursionError):
        # Not as it was written: the trial is tried again.
        return None
    return error if failed == _fingerprint(config) else None


def _fingerprint(config: RunConfig) -> str:
    (train,) = select("train", "train")
    return fingerprint_of(config, train)


def _record(config: RunConfig, error: Exception) -> str:
    """Keep why the trial failed, and say it in a line."""
    said = without_secrets(str(error) if isinstance(error, PipelineError) else f"{type(error).__name__}: {error}")
    if not recorded(config, select(None, LAST_SHARED)):
        # It has not come to training, so nothing of its own has failed.
        raise error
    document = {"fingerprint": _fingerprint(config), "error": said, "traceback": _frames(error)}
    write_text(config.run_dir / FAILURE, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return said


def _frames(error: BaseException) -> list[str]:
    """Where an error and those behind it were raised; not their words, in which libraries repeat keys of addresses."""
    found: list[str] = []
    one: BaseException | None = error
    while one is not None and len(found) < _MOST_FRAMES:
        found += [f"{type(one).__name__}:\n", *traceback.format_tb(one.__traceback__)]
        one = one.__cause__ or one.__context__
    return found


def drop_model(config: RunConfig) -> None:
    """Delete a trial's trained model, or what a failed training left."""
    train = config.run_dir / "train"
    for folder in (train / "model", partial_dir(train)):
        if folder.exists():
            shutil.rmtree(folder)


def _release_memory() -> None:
    """Give back what a trained model took, also where an error's traceback held it."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()

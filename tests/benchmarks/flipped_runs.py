"""A finished run of a tiny model with all that a run can hold, in whose files bits are flipped."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tests.line.conftest import write_config, write_log
from tests.tiny import save_tiny_model
from thumbline.pipeline import line, sweep
from thumbline.pipeline.config import load_config
from thumbline.pipeline.context import Advance, SilentReporter

# A name of its own for each: the run, one whose training was stopped, and the sweep beside the first.
RUN: Final = "run"
HALF: Final = "half"
SWEEP: Final = "run-sweep"
# Its run is compared with one that no bit is flipped in.
OTHER: Final = "other"
_USERS: Final = 60
_LORA: Final = {"adapter": "lora", "save": "adapter", "lora": {"rank": 2}, "epochs": 3, "checkpoint_every": 2}
_THUMBS: Final = {"method": "reward_bce", "epochs": 0.5, "batch_rows": 8, "dtype": "float32", "device": "cpu"}
_STEPS: Final = 3


class Finished(NamedTuple):
    """A tiny run that is done.

    Attributes:
        config: Its run file.
        runs: Folder of its run and its store; flips are made in place of it.
        whole: A copy.
    """

    config: Path
    runs: Path
    whole: Path


def finished_run(folder: Path, *, rich: bool = False) -> Finished:
    """A run of a tiny model in a folder.

    Args:
        folder: Where it is made.
        rich: With an adapter in place of a whole model, a thumbs model, a sweep, and a second run that was stopped
            while it trained.
    """
    save_tiny_model(folder / "model")
    log = write_log(folder / "thumbs.jsonl", prompts=24)
    if not rich:
        config = write_config(folder, log, folder / "model")
        _finish(config)
    else:
        config = _rich(folder, log)
    shutil.copytree(folder / "runs", folder / "whole")
    return Finished(config, folder / "runs", folder / "whole")


def _finish(config: Path) -> None:
    for _ in line.run(load_config(config)):
        pass


def _rich(folder: Path, log: Path) -> Path:
    _name_users(log)
    sections = {"train": _LORA, "thumbs": _THUMBS, "splits": {"validation": 0.2}}
    config = write_config(folder, log, folder / "model", RUN, **sections)
    _finish(config)
    shutil.copytree(folder / "runs" / RUN, folder / OTHER)
    for _ in sweep.run_sweep(sweep_of(config)):
        pass
    half = write_config(folder, log, folder / "model", HALF, **sections | {"train": {**_LORA, "seed": 1}})
    try:
        for _ in line.run(load_config(half), line.select(None, "train"), reporter=_Stopping()):
            pass
    except KeyboardInterrupt:
        return config
    raise AssertionError("the training was not stopped")


def sweep_of(config: Path) -> sweep.Plan:
    """The sweep that a rich run has beside it."""
    return sweep.plan_sweep(load_config(config), [sweep.parse_axis("train.loss.beta=0.1,0.5")])


def _name_users(log: Path) -> None:
    """Give a log as many users as a launch plan asks for."""
    lines = log.read_text(encoding="utf-8").splitlines()
    rows = [json.loads(text) if text.endswith("}") else text for text in lines]
    for place, row in enumerate(rows):
        if isinstance(row, dict):
            row["user_id"] = f"user {place % _USERS}"
    log.write_text("\n".join(json.dumps(row) if isinstance(row, dict) else row for row in rows) + "\n", "utf-8")


class _Stopping(SilentReporter):
    """Stops a training after a few steps, as Ctrl-C does."""

    @contextmanager
    def progress(self, description: str, total: int, unit: str) -> Iterator[Advance]:
        """Count the steps of the training."""
        done = 0

        def advance(units: int) -> None:
            nonlocal done
            done += units
            if description.startswith("training (") and done >= _STEPS:
                raise KeyboardInterrupt

        yield advance

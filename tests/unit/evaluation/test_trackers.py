"""Scalars for trackers: their names and steps, and the words where a tracker is not installed."""

import dataclasses
import sys

import polars as pl
import pytest

from tests.unit.evaluation.rows import outcome, run_like
from thumbline.pipeline.errors import MissingDependencyError
from thumbline.pipeline.evaluation.trackers import log_outcome, scalars
from thumbline.pipeline.tables import polars_schema


@pytest.fixture
def evaluated():
    log = pl.DataFrame(
        [(1, "train", "loss", 0.69), (2, "train", "loss", 0.5), (2, "validation", "accuracy", 0.75)],
        schema=polars_schema("training_log"),
        orient="row",
    )
    run = dataclasses.replace(run_like(15, 5), tables={"training_log": log})
    return outcome(run)


def test_curves_keep_their_steps_and_metrics_come_at_the_last_one(evaluated):
    found = {(scalar.name, scalar.step): scalar.value for scalar in scalars(evaluated)}
    assert found["train/loss", 1] == 0.69 and found["validation/accuracy", 2] == 0.75
    assert found["evaluation/trained/pair_accuracy.accuracy", 2] == 0.75
    low, high = (found[f"evaluation/trained/pair_accuracy.accuracy/{end}", 2] for end in ("low", "high"))
    assert low < 0.75 < high
    assert found["evaluation/trained/comparison.accuracy_difference/against untrained", 2] == 0.25
    assert not [name for name, _ in found if "temperature" in name and "untrained" in name]


def test_tensorboard_holds_every_scalar(evaluated, tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    written = log_outcome(evaluated, "tensorboard", str(tmp_path))
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    tags = events.Tags()["scalars"]
    assert sum(len(events.Scalars(tag)) for tag in tags) == written == len(list(scalars(evaluated)))
    assert [(point.step, round(point.value, 4)) for point in events.Scalars("train/loss")] == [(1, 0.69), (2, 0.5)]


def test_wandb_offline_takes_every_step(evaluated, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    wandb.teardown()  # else it remembers where it was first used
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)
    assert log_outcome(evaluated, "wandb", "thumbline-test") == len(list(scalars(evaluated)))
    assert list((tmp_path / "wandb").glob("offline-run-*"))


class StandIn:
    """What is called of wandb, recorded."""

    step = 0

    def __init__(self):
        self.logged, self.started, self.ended = [], {}, None

    def init(self, **arguments):
        self.started = arguments
        return self

    def log(self, values, step):
        self.logged.append((step, values))

    def finish(self, exit_code):
        self.ended = exit_code


def test_wandb_is_given_steps_in_order_and_what_was_evaluated(evaluated, monkeypatch):
    stand_in = StandIn()
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    written = log_outcome(evaluated, "wandb", "thumbs")
    assert stand_in.started["project"] == "thumbs" and stand_in.started["config"]["reward"] == "implicit"
    assert stand_in.started["id"] is None and stand_in.ended == 0
    assert [step for step, _ in stand_in.logged] == [1, 2]
    assert sum(len(values) for _, values in stand_in.logged) == written
    assert stand_in.logged[0][1] == {"train/loss": 0.69}


def test_a_run_that_could_not_be_logged_ends_as_failed(evaluated, monkeypatch):
    stand_in = StandIn()
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    monkeypatch.setattr(stand_in, "log", lambda *_, **__: 1 / 0, raising=False)
    with pytest.raises(ZeroDivisionError):
        log_outcome(evaluated, "wandb", "thumbs")
    assert stand_in.ended == 1


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio", "mlflow"])
def test_a_tracker_that_is_not_installed_says_how_to_install_it(evaluated, name, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard" if name == "tensorboard" else name, None)
    with pytest.raises(MissingDependencyError, match=rf"--{name} needs .* pip install 'thumbline\[{name}\]'"):
        log_outcome(evaluated, name, str(tmp_path))

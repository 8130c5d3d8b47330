"""Each tracker's own library where it is installed, and what is called of it where it is not."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import thumbline
from thumbline.pipeline.config.keeping import TrackingConfig
from thumbline.pipeline.errors import ConfigError, MissingDependencyError
from thumbline.pipeline.tracking import TRACKERS, Delivery, TrackedRun, open_tracker

RUN = TrackedRun("thumbs", "my run", "my-run-0123abcd", Path("events"), "train", {"method": "dpo", "seed": 0})


def log(name, run, first, last, *, kill=False):
    """Values of steps `first` to `last`, in a process of its own as far as the tracker can tell."""
    tracker = open_tracker(name, run, "train.track")
    delivery = Delivery(name, tracker, pytest.fail)
    for step in range(first, last + 1):
        delivery.send(
            step, {"train/loss": step / 10, "validation/loss": 1.0} if step % 2 == 0 else {"train/loss": step / 10}
        )
    delivery.close(failed=kill)


def read_tensorboard(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {
        tag: [(point.step, round(point.value, 4)) for point in events.Scalars(tag)] for tag in events.Tags()["scalars"]
    }


WHOLE = {
    "train/loss": [(step, step / 10) for step in range(8)],
    "validation/loss": [(step, 1.0) for step in range(0, 8, 2)],
}


def test_settings_and_registry_name_the_same_trackers():
    (names,) = TrackingConfig.model_fields["track"].annotation.__args__[:1]
    assert set(names.__args__) == set(TRACKERS)


@pytest.mark.parametrize("again_from", [0, 4])
def test_tensorboard_goes_on_without_a_gap_or_a_step_twice(tmp_path, again_from):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    run = RUN.__class__(**{**vars(RUN), "folder": tmp_path})
    log("tensorboard", run, 0, 5)
    log("tensorboard", run, again_from, 7)
    assert read_tensorboard(tmp_path) == WHOLE


def test_tensorboard_s_file_may_be_cut_short_by_a_kill(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    run = RUN.__class__(**{**vars(RUN), "folder": tmp_path})
    log("tensorboard", run, 0, 5)
    (events,) = tmp_path.glob("events.*")
    data = events.read_bytes()
    events.write_bytes(data[:-30])
    log("tensorboard", run, 2, 7)
    assert read_tensorboard(tmp_path) == WHOLE


def test_mlflow_s_database_holds_each_step_once(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    pytest.importorskip("sqlalchemy", reason="mlflow's local database is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    log("mlflow", RUN, 0, 5, kill=True)
    log("mlflow", RUN, 3, 7)
    client = mlflow.MlflowClient()
    (found,) = client.search_runs([client.get_experiment_by_name("thumbs").experiment_id])
    assert found.data.params["method"] == "dpo" and found.info.status == "FINISHED"
    history = {name: client.get_metric_history(found.info.run_id, name) for name in WHOLE}
    assert {name: [(one.step, one.value) for one in points] for name, points in history.items()} == WHOLE


def test_trackio_s_database_holds_each_step_once(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    pytest.importorskip("trackio", reason="trackio is not installed")
    from trackio.sqlite_storage import SQLiteStorage

    log("trackio", RUN, 0, 5)
    log("trackio", RUN, 3, 7)
    rows = SQLiteStorage.get_logs("thumbs", RUN.run_id)
    found = {name: [(row["step"], row[name]) for row in rows if name in row] for name in WHOLE}
    assert found == WHOLE


def test_wandb_offline_takes_every_step(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    wandb.teardown()  # else it remembers where it was first used
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)
    log("wandb", RUN, 0, 7)
    assert list((tmp_path / "wandb").glob("offline-run-*-my-run-0123abcd"))


class Library:
    """What is called of wandb or trackio, recorded; its run goes on at `step`."""

    def __init__(self, step):
        self.step = self._next_step = step
        self.logged, self.started, self.ended = [], {}, []

    def init(self, **arguments):
        self.started = arguments
        return self

    def log(self, values, step):
        self.logged.append((step, values))

    def finish(self, **arguments):
        self.ended.append(arguments)


@pytest.mark.parametrize(("name", "found_by"), [("wandb", "id"), ("trackio", "name")])
def test_a_run_that_goes_on_is_found_again_and_given_what_it_lacks(name, found_by, monkeypatch):
    stand_in = Library(step=4)
    monkeypatch.setitem(sys.modules, name, stand_in)
    log(name, RUN, 2, 6)
    assert stand_in.started[found_by] == RUN.run_id and stand_in.started["resume"] == "allow"
    assert stand_in.started["project"] == "thumbs" and stand_in.started["config"]["method"] == "dpo"
    assert [step for step, _ in stand_in.logged] == [4, 5, 6]
    assert len(stand_in.ended) == 1


class Server:
    """What is called of mlflow, with the histories that it would have."""

    def __init__(self):
        self.histories, self.runs, self.status, self.params = {}, [], None, {}
        self.entities = SimpleNamespace(
            Metric=lambda key, value, now, step: SimpleNamespace(key=key, value=value, step=step),
            Param=lambda key, value: (key, value),
        )

    def MlflowClient(self):  # noqa: N802  the library's name
        return self

    def get_experiment_by_name(self, name):
        return SimpleNamespace(experiment_id="7") if self.runs else None

    def create_experiment(self, name):
        return "7"

    def search_runs(self, experiments, filter_string, max_results):
        return [run for run in self.runs if f"'{run.tags['thumbline.run_id']}'" in filter_string]

    def create_run(self, experiment, run_name, tags):
        self.runs.append(SimpleNamespace(info=SimpleNamespace(run_id="r"), tags=tags))
        return self.runs[-1]

    def update_run(self, run_id, status):
        self.status = status

    def set_terminated(self, run_id, status):
        self.status = status

    def get_metric_history(self, run_id, key):
        return self.histories.get(key, [])

    def log_batch(self, run_id, metrics=(), params=()):
        self.params |= dict(params)
        for metric in metrics:
            self.histories.setdefault(metric.key, []).append(metric)


def test_mlflow_is_asked_for_what_it_holds(monkeypatch):
    server = Server()
    monkeypatch.setitem(sys.modules, "mlflow", server)
    log("mlflow", RUN, 0, 5, kill=True)
    assert server.status == "FAILED" and server.params["seed"] == "0"
    log("mlflow", RUN, 3, 7)
    assert server.status == "FINISHED" and len(server.runs) == 1
    assert {key: [(one.step, one.value) for one in history] for key, history in server.histories.items()} == WHOLE
    log("mlflow", RUN.__class__(**{**vars(RUN), "run_id": "another"}), 0, 0)
    assert len(server.runs) == 2


def test_mlflow_s_names_of_metrics_hold_what_it_takes(monkeypatch):
    server = Server()
    monkeypatch.setitem(sys.modules, "mlflow", server)
    tracker = open_tracker("mlflow", RUN, "--mlflow")
    tracker.log(0, {"evaluation/m/pair_accuracy.accuracy/language=en": 1.0})
    assert list(server.histories) == ["evaluation/m/pair_accuracy.accuracy/language_en"]


def test_a_tracker_that_cannot_start_is_said_before_the_first_step(monkeypatch):
    class Closed:
        def init(self, **_):
            raise RuntimeError("api_key not configured (no-tty)\nsee the docs")

    monkeypatch.setitem(sys.modules, "wandb", Closed())
    with pytest.raises(
        ConfigError, match=r"train.track: wandb cannot start a run \(api_key not configured \(no-tty\)\)"
    ):
        open_tracker("wandb", RUN, "train.track")


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_that_is_not_installed_says_how_to_install_it(name, monkeypatch):
    monkeypatch.setitem(sys.modules, TRACKERS[name].module, None)
    with pytest.raises(MissingDependencyError, match=rf"train.track needs {name}.* pip install 'thumbline\[{name}\]'"):
        open_tracker(name, RUN, "train.track")


def test_an_absent_tracker_is_said_before_anything_is_read_or_scored(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    document = {"name": "mine", "model": "demo", "events": {"inputs": ["absent.jsonl"]}, "runs": str(tmp_path)}
    with pytest.raises(MissingDependencyError, match=r"train\.track needs wandb, which is not installed"):
        thumbline.run(document, **{"train.track": ["wandb"]})
    with pytest.raises(MissingDependencyError, match="pip install 'thumbline\\[wandb\\]'"):
        thumbline.sweep(document, {"train.loss.beta": [0.1, 0.3]}, **{"train.track": ["wandb"]})
    assert not list(tmp_path.iterdir())

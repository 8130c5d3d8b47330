"""What `--json` prints, what `-q` leaves out, and what `status` says of a run whose log is gone."""

import json
import logging
import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.line.conftest import write_log
from tests.line.test_commands import scored_pairs
from tests.unit.storage.test_manifests import manifest
from thumbline.pipeline.cli import main, terminal
from thumbline.pipeline.cli.documents import verdict_of
from thumbline.pipeline.config import RunConfig
from thumbline.pipeline.context import SilentReporter
from thumbline.pipeline.errors import PipelineError
from thumbline.pipeline.line import locked
from thumbline.pipeline.line.activity import followed
from thumbline.pipeline.storage import manifests

PREPARED = ("events", "responses", "unpaired", "pairs", "splits")


@pytest.fixture(autouse=True)
def as_before():
    yield
    terminal.notes.quiet = False


def run(*arguments):
    result = CliRunner().invoke(main.app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def document(*arguments):
    return json.loads(run(*arguments, "--json").stdout)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a log, what `prepare` made of it, and what it printed."""
    place = tmp_path_factory.mktemp("made")
    log = write_log(place / "thumbs.jsonl", prompts=12)
    printed = run("prepare", log, "-o", place / "out", "--json", "--set", "splits.validation=0.2")
    return place, json.loads(printed.stdout), printed.stderr


@pytest.fixture
def place(made, tmp_path):
    """A copy of the folder, as if it had been moved; the log lies where it lay."""
    return Path(shutil.copytree(made[0], tmp_path / "moved"))


def stages(found, key="state"):
    return {stage["stage"]: stage[key] for stage in found["stages"]}


def test_prepare_prints_one_document_and_tells_people_on_stderr(made):
    place, found, told = made
    assert list(found) == ["run", "folder", "stages", "verdict", "report", "dataset", "data_report"]
    assert stages(found, "action") == dict.fromkeys(PREPARED, "ran")
    events = found["stages"][0]
    assert (events["rows_in"], events["rows_out"], events["merged"], events["rejected"]) == (98, 96, 1, 1)
    assert events["reasons"] == {"broken_json": 1} and "broken_json 1" in " ".join(events["said"])
    assert len(events["fingerprint"]) == 32
    assert found["verdict"] is None and found["report"] is None
    assert all(
        Path(name).is_file() for name in (*found["dataset"]["rows"], found["dataset"]["card"], found["data_report"])
    )
    assert "events " in told and f"Data report: {place / 'out' / 'data_report.html'}" in told


def test_the_data_set_is_written_while_the_run_is_locked_and_each_stage_s_beginning_is_logged(made, place, monkeypatch):
    from thumbline.pipeline.dataset import prepared
    from thumbline.pipeline.line.locking import is_locked

    written, held = prepared.write_dataset, []

    def watched(config, folder):
        held.append(is_locked(config.run_dir))
        return written(config, folder)

    monkeypatch.setattr(prepared, "write_dataset", watched)
    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "error")
    handler = main._LogHandler()
    logging.getLogger("thumbline").addHandler(handler)
    try:
        asked = ("prepare", made[0] / "thumbs.jsonl", "-o", place / "out", "--set", "splits.validation=0.1")
        told = run("-v", *asked)
        assert "splits begins: version " in told.stderr and "events begins" not in told.stderr
        assert "begins" not in run(*asked).output
    finally:
        logging.getLogger("thumbline").removeHandler(handler)
        logging.getLogger("thumbline").setLevel(logging.NOTSET)
    assert held == [True, True] and not is_locked(place / "out")


def test_a_quiet_command_prints_how_it_ended_alone(made):
    place, *_ = made
    result = run("-q", "prepare", place / "thumbs.jsonl", "-o", place / "out", "--set", "splits.validation=0.2")
    assert result.output == f"Data report: {place / 'out' / 'data_report.html'}\n"


def test_status_says_the_same_wherever_the_run_lies(made, place, monkeypatch):
    (there,) = [made[0] / "out"]
    found = document("status", there)
    monkeypatch.chdir(place)
    moved = document("status", "out")
    assert {**moved, "run": "", "folder": ""} == {**found, "run": "", "folder": ""}
    assert stages(found) == dict.fromkeys(stages(found), "missing") | dict.fromkeys(PREPARED, "done")
    assert found["activity"] is None and found["verdict"] is None
    assert {stage["unchecked"] for stage in found["stages"]} == {None}


def test_status_without_the_log_shows_what_is_recorded_and_what_it_cannot_compare(made, place):
    log = made[0] / "thumbs.jsonl"
    text = log.read_text()
    try:
        log.unlink()
        found, told = document("status", place / "out"), run("status", place / "out")
        assert stages(found)["events"] == stages(found)["splits"] == "done"
        assert f"{log}: no such file" in found["stages"][0]["unchecked"]
        assert f"events: not compared with what it read: {log}: no such file" in told.stderr
        assert "events: rejected: broken_json 1" in told.stdout
    finally:
        log.write_text(text + "\n")
    found = document("status", place / "out")
    assert (found["stages"][0]["state"], found["stages"][0]["why"]) == ("stale", f"changed input {log}")
    assert found["stages"][1]["why"] == "after events"
    log.write_text(text)


def test_status_says_what_a_process_does_how_one_ended_and_the_verdict(place):
    folder = place / "out"
    report = folder / "report"
    report.mkdir()
    (report / "metrics.json").write_text('{"verdict": {"tone": "same", "sentence": "No difference."}}')
    (report / "report.html").touch()
    with (
        locked(folder),
        followed(folder, SilentReporter()) as reporter,
        reporter.stage("pairs"),
        reporter.progress("training (dpo)", 110, "steps") as advance,
    ):
        advance(40)
        reporter.keep()
        found, told = document("status", folder), run("status", folder).stdout
    assert (found["activity"]["state"], found["activity"]["done"]) == ("running", 40)
    assert (stages(found)["pairs"], stages(found)["splits"]) == ("running", "stale")
    assert found["verdict"] == {"tone": "same", "sentence": "No difference."}
    assert told.startswith("running, pairs step 40 of 110  (process ")
    assert told.endswith(f"No difference.\nReport: {report / 'report.html'}\n")


def test_run_prints_what_it_would_do(made, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(f"name: plan\nmodel: none\nruns: {tmp_path}\nevents: {{inputs: [{made[0] / 'thumbs.jsonl'}]}}\n")
    found = json.loads(run("run", path, "--dry-run", "--until", "responses", "--json").stdout)
    assert found == [
        {"stage": "events", "would": "run", "why": "never ran"},
        {"stage": "responses", "would": "run", "why": "after events"},
    ]


def test_evaluate_and_compare_print_their_headlines(tmp_path):
    import polars as pl

    pl.DataFrame(scored_pairs()).write_parquet(tmp_path / "scored.parquet")
    asked = ("evaluate", tmp_path / "scored.parquet", "-o", tmp_path / "one", "--draws", "100")
    result = CliRunner().invoke(main.app, [*map(str, asked), "--json", "--fail-under", "accuracy=0.9"])
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert list(found) == ["verdict", "numbers", "conditions", "report", "metrics"]
    (accuracy,) = [n for n in found["numbers"] if (n["metric"], n["model"]) == ("accuracy", "trained")]
    assert accuracy["value"] == 0.75 and set(accuracy["interval"]) == {"low", "high"}
    assert [condition["holds"] for condition in found["conditions"]] == [False]
    assert found["verdict"]["sentence"] in result.stderr and Path(found["report"]).is_file()
    both = document("compare", tmp_path / "one", tmp_path / "scored.parquet", "-o", tmp_path / "two", "--draws", "100")
    assert list(both) == list(found) and both["conditions"] == []


def test_an_empty_store_is_an_empty_list(tmp_path):
    assert document("reference", "stats", tmp_path) == {"store": str(tmp_path), "keys": []}


@pytest.mark.parametrize("below", ["", "x"])
def test_where_no_folder_can_be_is_told_by_each_command(made, tmp_path, below):
    file = tmp_path / "file"
    file.write_text("mine")
    output = file / below if below else file
    path = tmp_path / "run.yaml"
    path.write_text(
        f"name: {output.name}\nmodel: none\nruns: {output.parent}\nevents: {{inputs: [{made[0] / 'thumbs.jsonl'}]}}\n"
    )
    for command in (
        ["prepare", made[0] / "thumbs.jsonl", "-o", output],
        ["run", path, "--until", "responses"],
        ["status", output],
        ["status", "/dev/null"],
        ["prepare", made[0] / "thumbs.jsonl", "-o", "/dev/null"],
    ):
        error = CliRunner().invoke(main.app, [str(argument) for argument in command]).exception
        assert isinstance(error, PipelineError), (command, error)
        assert "no folder can be made here" in str(error) or "not the folder of a run" in str(error)
    assert file.read_text() == "mine"


def test_a_verdict_that_is_not_as_it_was_written_is_none(tmp_path):
    for name in ("config.yaml", ".lock"):
        (tmp_path / name).touch()
    work = manifests.open_partial(tmp_path / "report", "f")
    sentence = "it is better"
    (work / "metrics.json").write_text(json.dumps({"verdict": {"tone": "better", "sentence": sentence}}))
    manifests.publish(tmp_path / "report", manifest(stage="report"))
    config = RunConfig(name=tmp_path.name, runs=str(tmp_path.parent), model="demo", events={"inputs": ["a.jsonl"]})
    assert verdict_of(config) == {"tone": "better", "sentence": sentence}
    page = tmp_path / "report" / "metrics.json"
    page.write_text(page.read_text().replace("better", "bitter"))
    assert verdict_of(config) is None
    page.unlink()
    os.mkfifo(page)
    assert verdict_of(config) is None
    # Also where no manifest tells what it was.
    (tmp_path / "report" / "manifest.json").unlink()
    assert verdict_of(config) is None

"""Runs whose folder lies at an address, on a real S3 server: the same bytes as in a folder, wherever they are read."""

import json
import logging
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pytest
from typer.testing import CliRunner

import thumbline
from tests.line.conftest import write_config
from tests.object_store import BUCKET, KEY, SECRET, Proxy, served, use
from thumbline.pipeline import line
from thumbline.pipeline.cli.main import app
from thumbline.pipeline.config import load_config
from thumbline.pipeline.context import SilentReporter
from thumbline.pipeline.errors import BusyError, ConfigError, InputError, MachineError, TableError
from thumbline.pipeline.line import holding
from thumbline.pipeline.storage import attached, begun, leases, patience
from thumbline.pipeline.storage.manifests import read_manifest

pytest.importorskip("s3fs")
DATA_STAGES = ("events", "responses", "unpaired", "pairs", "splits")


@pytest.fixture
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("s3")


@pytest.fixture
def server(folder):
    """A server of a test's own: one keeps sizes of what it has served, also when another of that name is written."""
    with served(folder) as port:
        yield port


@pytest.fixture
def proxy(server, folder):
    one = Proxy(server, folder)
    yield one
    one.close()


@pytest.fixture(autouse=True)
def machine(proxy, tmp_path, monkeypatch):
    """A machine of its own: an empty cache, and the store behind the proxy."""
    use(proxy.port, monkeypatch)
    monkeypatch.setattr(patience, "PAUSES", (0.01, 0.01, 0.01))
    monkeypatch.setattr(leases, "TERMS", leases.Terms(seconds=3.0, renewal=0.4, settling=0.05))
    another_machine(tmp_path / "first", monkeypatch)


def another_machine(cache: Path, monkeypatch) -> None:
    monkeypatch.setenv("THUMBLINE_CACHE", str(cache))
    monkeypatch.setattr(attached, "_attached", {})


def write_log(path: Path, answers: int = 60) -> Path:
    rows = [
        {
            "prompt": f"Question {number % 20}?",
            "completion": f"Answer {number} in some words.",
            "vote": "up" if number % 3 else "down",
            "user_id": f"u{number % 7}",
        }
        for number in range(answers)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"prompt": "", "completion": "x", "vote": "up"}]))
    return path


@pytest.fixture
def log(tmp_path):
    return write_log(tmp_path / "log.jsonl")


def tables(store: Path) -> dict[str, str]:
    """Digests of the tables by name, as the manifests in a folder name them."""
    found = {}
    for stage in DATA_STAGES:
        manifest = json.loads((store / stage / "manifest.json").read_text())
        found |= {name: record["sha256"] for name, record in manifest["outputs"].items()}
    return found


def beside(port):
    """A client of the server itself: what is changed on its disk would be seen by it minutes later."""
    return fsspec.filesystem("s3", endpoint_url=f"http://127.0.0.1:{port}", use_listings_cache=False)


def command(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)


def test_the_tables_are_those_of_a_run_in_a_folder_and_all_commands_read_them(
    log, folder, server, tmp_path, monkeypatch
):
    beside(server).put_file(str(log), f"{BUCKET}/logs/day.jsonl")
    done = command("prepare", f"s3://{BUCKET}/logs/*.jsonl", "-o", f"s3://{BUCKET}/runs/mine")
    assert done.exit_code == 0, done.output
    assert f"Data report: s3://{BUCKET}/runs/mine/data_report.html" in done.output
    thumbline.prepare(f"s3://{BUCKET}/logs/*.jsonl", output=tmp_path / "local")
    there = folder / BUCKET / "runs" / "mine"
    assert tables(there) == tables(tmp_path / "local")
    assert (there / "data_report.html").is_file() and (there / "dataset" / "README.md").is_file()
    names = {path.relative_to(there).as_posix() for path in there.rglob("*.parquet")}
    assert {"dataset/unpaired/train.parquet"} <= names
    for stage in DATA_STAGES:
        kept = {name.split("/")[1] for name in names if name.startswith(f"{stage}/")}
        assert len(kept) == 1, "one folder of files a stage"
    assert not list(there.glob("lock/*")) and not (there / "activity.json").exists()

    another_machine(tmp_path / "second", monkeypatch)
    status = command("status", f"s3://{BUCKET}/runs/mine")
    assert status.exit_code == 0 and status.output.count(" done ") == len(DATA_STAGES), status.output
    shown = json.loads(command("status", f"s3://{BUCKET}/runs/mine", "--json").stdout)
    assert shown["folder"] == f"s3://{BUCKET}/runs/mine" and shown["activity"] is None
    assert not list((tmp_path / "second").rglob("*.parquet")), "no table is fetched to say where a run stands"
    rejects = command("rejects", f"s3://{BUCKET}/runs/mine")
    assert "empty_prompt" in rejects.output and f"s3://{BUCKET}/runs/mine/events/rejects.parquet" in rejects.output
    run = thumbline.load(f"s3://{BUCKET}/runs/mine")
    assert len(run.tables["unpaired"]) == 60 and run.counts["out"][0] == 60
    fetched = {path.name for path in (tmp_path / "second").rglob("*.parquet")}
    assert "unpaired.parquet" in fetched and not fetched & {"pairs.parquet", "splits.parquet", "leakage.parquet"}
    written = command("export", f"s3://{BUCKET}/runs/mine", "-o", tmp_path / "exported")
    assert written.exit_code == 0, written.output


def test_another_machine_goes_on_where_the_first_one_was(log, folder, tmp_path, monkeypatch, proxy):
    address = f"s3://{BUCKET}/runs/mine"
    assert command("prepare", log, "-o", address).exit_code == 0
    another_machine(tmp_path / "second", monkeypatch)
    proxy.requests.clear()
    again = command("prepare", log, "-o", address)
    assert again.output.count("up to date") == len(DATA_STAGES), again.output
    assert not [path for method, path in proxy.requests if method == "PUT" and "/events/" in path]
    # A setting of a late stage: what comes before is fetched, not made again; the old files go with the new manifest.
    changed = command("prepare", log, "-o", address, "--set", "splits.test=0.3")
    assert changed.output.count("up to date") == len(DATA_STAGES) - 1, changed.output
    there = folder / BUCKET / "runs" / "mine"
    assert len([path for path in (there / "splits").iterdir() if path.is_dir()]) == 1
    thumbline.prepare(log, output=tmp_path / "local", **{"splits.test": 0.3})
    assert tables(there) == tables(tmp_path / "local")
    # The first machine takes what the second has made.
    another_machine(tmp_path / "first", monkeypatch)
    run = thumbline.load(address)
    assert run.tables["splits"].equals(thumbline.load(tmp_path / "local").tables["splits"])


def test_no_request_lists_more_than_a_run_of_the_bucket(log, proxy):
    assert command("prepare", log, "-o", f"s3://{BUCKET}/runs/mine").exit_code == 0
    lists = [path for method, path in proxy.requests if method == "GET" and "list-type" in path]
    assert lists and all("prefix=runs%2Fmine%2F" in path for path in lists), lists[:3]


def test_a_store_that_fails_one_request_in_ten_gives_the_same_bytes(log, folder, tmp_path, proxy):
    """In turn it answers 503, cuts the connection, does what is asked and loses the answer, and is slow."""
    faults = ("refuse", "cut", "lose", "stall")
    proxy.fault = lambda number, method, path: faults[number // 10 % 4] if number % 10 == 3 else None
    done = command("prepare", log, "-o", f"s3://{BUCKET}/runs/mine")
    assert done.exit_code == 0, done.output
    thumbline.prepare(log, output=tmp_path / "local")
    assert tables(folder / BUCKET / "runs" / "mine") == tables(tmp_path / "local")


def test_a_store_that_stops_is_one_clear_error_and_the_run_goes_on(log, folder, tmp_path, proxy, monkeypatch):
    """It answers until the third stage is to be published."""
    address = f"s3://{BUCKET}/runs/mine"
    monkeypatch.setattr(patience, "PAUSES", ())
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    use(proxy.port, monkeypatch)
    down = []
    proxy.fault = lambda number, method, path: (
        "refuse" if down or ("/unpaired/" in path and method == "PUT" and (down.append(1) or True)) else None
    )
    with pytest.raises(MachineError, match=r"s3://bucket/runs/mine/.*cannot be .*goes on from here"):
        command("prepare", log, "-o", address)
    there = folder / BUCKET / "runs" / "mine"
    assert (there / "responses" / "manifest.json").is_file() and not (there / "unpaired" / "manifest.json").exists()
    down.clear()
    proxy.fault = lambda number, method, path: None
    again = command("prepare", log, "-o", address)
    assert again.exit_code == 0, again.output
    # The third stage was done, and had only to be published.
    assert again.output.count("up to date") == 3, again.output
    thumbline.prepare(log, output=tmp_path / "local")
    assert tables(there) == tables(tmp_path / "local")


def test_a_table_that_is_damaged_or_gone_in_the_store_is_never_used(log, server, tmp_path, monkeypatch):
    address = f"s3://{BUCKET}/runs/mine"
    assert command("prepare", log, "-o", address).exit_code == 0
    store = beside(server)
    (table,) = [path for path in store.find(f"{BUCKET}/runs/mine/unpaired") if path.endswith(".parquet")]
    right = store.cat_file(table)
    store.pipe_file(table, right[:-9] + b"123456789")
    another_machine(tmp_path / "second", monkeypatch)
    with pytest.raises(TableError, match=r"unpaired.parquet: its bytes are not those that stage 'unpaired' wrote"):
        _ = thumbline.load(address).tables["unpaired"]
    store.rm_file(table)
    with pytest.raises(TableError, match="not there, though the manifest of stage 'unpaired' names it"):
        _ = thumbline.load(address).tables["unpaired"]
    again = command("prepare", log, "-o", address)
    assert again.exit_code == 0 and store.cat_file(table) == right, again.output


def test_two_runners_at_once(log, tmp_path, monkeypatch):
    address = f"s3://{BUCKET}/runs/mine"
    first = thumbline.prepare(log, output=address)
    with holding.held(first.settings):
        # On the same machine its own lock says so at once, on another one the lease.
        with pytest.raises(BusyError, match=r"s3://bucket/runs/mine: another process is running this run"):
            thumbline.prepare(log, output=address)
        known = dict(attached._attached)
        another_machine(tmp_path / "second", monkeypatch)
        with pytest.raises(BusyError, match=r"another process is running this run \(process \d+ on "):
            thumbline.prepare(log, output=address)
        status = command("status", address)
        assert status.output.startswith("running"), status.output
        monkeypatch.setenv("THUMBLINE_CACHE", str(tmp_path / "first"))
        monkeypatch.setattr(attached, "_attached", known)


def test_a_runner_that_lost_its_lease_publishes_nothing(log, folder, server, proxy):
    """Somebody deletes its lease while the second stage is uploaded."""
    store, lock = beside(server), f"{BUCKET}/runs/mine/lock"

    def fault(number, method, path):
        if method == "PUT" and "/responses/" in path and "manifest" not in path:
            for one in store.find(lock):
                store.rm_file(one)
            return "stall"
        return None

    proxy.fault = fault
    with pytest.raises(BusyError, match=r"has lost its lease on the run \(it is gone\)"):
        command("prepare", log, "-o", f"s3://{BUCKET}/runs/mine")
    there = folder / BUCKET / "runs" / "mine"
    assert (there / "events" / "manifest.json").is_file() and not (there / "responses" / "manifest.json").exists()


def test_no_secret_is_kept_or_said(log, folder, caplog):
    caplog.set_level(logging.DEBUG, logger="thumbline")
    done = command("prepare", log, "-o", f"s3://{BUCKET}/runs/mine", "--set", "events.user_key=a-key-of-ours")
    kept = [path for path in (folder / BUCKET).rglob("*") if path.is_file()]
    for secret in (KEY, SECRET, "a-key-of-ours"):
        assert secret not in done.output + caplog.text
        assert not [path for path in kept if secret.encode() in path.read_bytes()]


def test_settings_of_fsspec_work_as_well_as_the_environment(log, folder, proxy, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)
    monkeypatch.setitem(
        fsspec.config.conf,
        "s3",
        {
            "key": KEY,
            "secret": SECRET,
            "endpoint_url": f"http://127.0.0.1:{proxy.port}",
            "config_kwargs": {"s3": {"addressing_style": "path"}},
        },
    )
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    assert command("prepare", log, "-o", f"s3://{BUCKET}/runs/mine").exit_code == 0
    assert (folder / BUCKET / "runs" / "mine" / "splits" / "manifest.json").is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, r"cannot be (listed|read|written) \(PermissionError"),
        ({}, "cannot be written: no such bucket"),
    ],
)
def test_wrong_credentials_and_a_bucket_that_is_not_there_are_told(change, message, log, monkeypatch, proxy):
    for name, value in change.items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(InputError, match=message) as told:
        command("prepare", log, "-o", f"s3://{BUCKET if change else 'nowhere'}/runs/mine")
    assert SECRET not in str(told.value)


def test_what_is_no_run_is_refused():
    with pytest.raises(ConfigError, match=r"s3://bucket/runs/none: no config.yaml here"):
        command("status", f"s3://{BUCKET}/runs/none")
    with pytest.raises(ConfigError, match="a run lies below a bucket"):
        command("prepare", "log.jsonl", "-o", "s3://bucket")


class Lost(SilentReporter):
    """Ends training in the middle, as a machine does that is taken away, and keeps what was said."""

    def __init__(self, at: int | None = None) -> None:
        self.at, self.said, self.steps = at, [], 0

    def say(self, message: str) -> None:
        self.said.append(message)

    @contextmanager
    def progress(self, description, total, unit):
        def advance(units: int) -> None:
            self.steps += units if unit == "steps" else 0
            if self.steps == self.at:
                raise KeyboardInterrupt

        yield advance


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_another_machine_goes_on_inside_a_training(tiny_model, small_log, folder, tmp_path, monkeypatch, proxy):
    """One is lost in the middle; the other trains the rest, to the same bytes."""
    pytest.importorskip("torch")
    monkeypatch.setattr(begun, "_PACE", -1.0)
    there, here = (
        load_config(write_config(tmp_path, small_log, tiny_model, name, runs=runs, train={"epochs": 2}))
        for name, runs in (("there", f"s3://{BUCKET}/runs"), ("here", str(tmp_path / "runs")))
    )
    stages = line.select(None, "train")
    calm, lost, found = Lost(), Lost(at=3), Lost()
    list(line.run(here, stages, reporter=calm))
    with pytest.raises(KeyboardInterrupt):
        list(line.run(there, stages, reporter=lost))
    train = folder / BUCKET / "runs" / "there" / "train"
    assert (train / "begun" / "checkpoint-00000002.pt").is_file() and not (train / "manifest.json").exists()
    another_machine(tmp_path / "second", monkeypatch)
    list(line.run(there, stages, reporter=found))
    assert [said for said in found.said if "goes on from the checkpoint of step 2 that another machine" in said]
    asked = [path for method, path in proxy.requests if method == "GET" and "checkpoint-" in path]
    assert asked and calm.steps == found.steps > 3
    written = [read_manifest(config.run_dir / "train") for config in (here, there)]
    assert written[0].outputs == written[1].outputs and written[0].files == written[1].files
    assert not list(train.glob("begun/*")), "what was begun goes when the stage is published"


@pytest.mark.slow
def test_the_whole_line_from_and_to_the_store(tiny_model, small_log, folder, server, tmp_path, monkeypatch):
    """Log, log-probs, model and report lie there, and another machine reads and evaluates them."""
    pytest.importorskip("torch")
    beside(server).put_file(str(small_log), f"{BUCKET}/logs/thumbs.jsonl")
    config = write_config(
        tmp_path,
        Path("unused"),
        tiny_model,
        runs=f"s3://{BUCKET}/runs",
        events={"inputs": [f"s3://{BUCKET}/logs/thumbs.jsonl"], "format": "thumbs_jsonl"},
        train={"epochs": 1},
    )
    done = command("run", config)
    assert done.exit_code == 0, done.output
    assert f"Report: s3://{BUCKET}/runs/run/report/report.html" in done.output
    there = folder / BUCKET / "runs" / "run"
    assert (there / "report" / "report.html").is_file() and list((there / "train").rglob("model.safetensors"))
    assert list((folder / BUCKET / "runs" / "store").rglob("*.parquet")), "log-probs are kept beside the runs"
    another_machine(tmp_path / "second", monkeypatch)
    run = thumbline.load(f"s3://{BUCKET}/runs/run")
    assert run.verdict and run.report.is_file() and (run.model / "model.safetensors").is_file()
    evaluated = command("evaluate", f"s3://{BUCKET}/runs/run", "-o", tmp_path / "evaluation")
    assert evaluated.exit_code == 0, evaluated.output
    again = command("run", config)
    assert "Nothing to do: all 14 stages" in again.output, again.output

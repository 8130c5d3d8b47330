"""What inputs stand for: sorted, each file once, whatever the order and the spelling."""

import os
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import permutations
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

import fsspec
import pytest
from datasets import Dataset, DatasetDict

from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.errors import InputError
from thumbline.pipeline.reading.inputs import expand_inputs
from thumbline.pipeline.stages.events import ingest


class SilentHandler(SimpleHTTPRequestHandler):
    """A server of files that says nothing."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("logs/b.jsonl", "logs/deep/a.csv.gz", "logs/c.parquet", "logs/readme.md", "logs/.hidden.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "logs"


def names(*entries: str) -> list[str]:
    return [file.name for file in expand_inputs(entries).files]


def test_a_folder_gives_its_logs_sorted_and_counts_the_rest(logs: Path) -> None:
    inputs = expand_inputs(("logs",))
    assert [file.name for file in inputs.files] == ["logs/b.jsonl", "logs/c.parquet", "logs/deep/a.csv.gz"]
    assert inputs.skipped == {".md": 1, "hidden": 1}
    assert inputs.said == ["2 files were not read: .md 1, hidden 1"]
    assert expand_inputs(("logs/b.jsonl",)).said == []


def test_globs(logs: Path) -> None:
    assert names("logs/*.jsonl") == ["logs/b.jsonl"]
    assert names("logs/**/*.gz") == ["logs/deep/a.csv.gz"]
    assert names("lo*") == ["logs/b.jsonl", "logs/c.parquet", "logs/deep/a.csv.gz"]


def test_each_file_once_in_any_order_and_spelling(logs: Path) -> None:
    entries = ("logs/b.jsonl", "logs", "./logs/*.jsonl", str(logs / "b.jsonl"), "logs/deep/../b.jsonl")
    results = {tuple(expand_inputs(order).files) for order in permutations(entries)}
    assert len(results) == 1
    (files,) = results
    assert [file.name for file in files] == ["logs/b.jsonl", "logs/c.parquet", "logs/deep/a.csv.gz"]
    assert [file.explicit for file in files] == [True, False, False]


def test_a_link_to_a_file_is_that_file(logs: Path) -> None:
    (logs / "a_link.jsonl").symlink_to(logs / "b.jsonl")
    assert names("logs/a_link.jsonl", "logs/b.jsonl") == ["logs/a_link.jsonl"]


def test_a_file_of_another_suffix_is_read_where_it_is_named(logs: Path) -> None:
    assert names("logs/readme.md") == ["logs/readme.md"]


def test_a_path_outside_the_working_folder_stays_as_given(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(logs / "deep")
    assert names("../b.jsonl") == ["../b.jsonl"]
    assert names(str(logs / "b.jsonl")) == [(logs / "b.jsonl").as_posix()]
    assert names(str(logs / "deep" / "a.csv.gz")) == ["a.csv.gz"]


@pytest.mark.parametrize("entry", ["absent.jsonl", "nothing/*.jsonl", "empty"])
def test_an_entry_that_stands_for_nothing(logs: Path, entry: str) -> None:
    (logs.parent / "empty").mkdir()
    with pytest.raises(InputError, match=r"no such file, and no file of \.arrow, \.csv, \.json"):
        expand_inputs(("logs", entry))


def test_addresses(logs: Path) -> None:
    assert expand_inputs(("hub:b/c", "hub:a/b", "hub:a/b")).addresses == ["hub:a/b", "hub:b/c"]
    with pytest.raises(InputError, match="nowhere://x: cannot be fetched"):
        expand_inputs(("nowhere://x",))


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store in memory with three logs and what is none."""
    monkeypatch.setenv("THUMBLINE_CACHE", str(tmp_path / "cache"))
    system = fsspec.filesystem("memory")
    system.store.clear()
    for name in ("logs/a.jsonl", "logs/deep/b.csv.gz", "logs/c.parquet", "logs/note.txt", "logs/_old.jsonl"):
        system.pipe(f"/{name}", name.encode())
    yield system
    system.store.clear()


@pytest.mark.parametrize(
    ("address", "names"),
    [
        ("memory://logs/a.jsonl", ["a.jsonl"]),
        ("memory://logs", ["a.jsonl", "c.parquet", "deep/b.csv.gz"]),
        ("memory://logs/*.jsonl", ["a.jsonl"]),
        ("memory://logs/note.txt", ["note.txt"]),
    ],
)
def test_addresses_are_fetched(store, address, names):
    files = expand_inputs((address,)).files
    assert [file.name for file in files] == [f"memory:///logs/{name}" for name in names]
    assert [file.path.read_bytes() for file in files] == [f"logs/{name}".encode() for name in names]


def test_a_file_is_fetched_once_and_again_when_it_changes(store, monkeypatch):
    first = expand_inputs(("memory://logs/a.jsonl",)).files[0].path
    monkeypatch.setattr(type(store), "get_file", None)
    assert expand_inputs(("memory://logs/a.jsonl",)).files[0].path == first
    monkeypatch.undo()
    monkeypatch.setenv("THUMBLINE_CACHE", str(first.parents[2]))
    store.pipe("/logs/a.jsonl", b"changed")
    assert expand_inputs(("memory://logs/a.jsonl",)).files[0].path.read_bytes() == b"changed"


def test_a_remote_file_may_have_the_name_of_a_pattern(store):
    store.pipe("/logs/a[1].jsonl", b"brackets")
    store.pipe("/logs/a1.jsonl", b"another")
    assert [file.path.read_bytes() for file in expand_inputs(("memory://logs/a[1].jsonl",)).files] == [b"brackets"]
    store.rm_file("/logs/a[1].jsonl")
    assert [file.path.read_bytes() for file in expand_inputs(("memory://logs/a[1].jsonl",)).files] == [b"another"]


def test_a_signed_address_is_one_file_whose_name_holds_no_signature(tmp_path, monkeypatch):
    monkeypatch.setenv("THUMBLINE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "a.jsonl").write_bytes(b"signed")
    handler = partial(SilentHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        (file,) = expand_inputs((f"http://me:SECRET@127.0.0.1:{port}/a.jsonl?X-Amz-Signature=SECRET&e=[1]",)).files
        server.shutdown()
    assert (file.name, file.explicit) == (f"http://127.0.0.1:{port}/a.jsonl", True)
    assert file.path.name == "a.jsonl" and file.path.read_bytes() == b"signed"


def test_an_address_whose_secret_was_left_out_is_not_asked():
    with pytest.raises(InputError, match="its secret is kept nowhere; give the run file again"):
        expand_inputs(("http://(kept secret)@127.0.0.1:9/a.jsonl",))


def test_an_address_of_nothing_is_named_without_its_secrets(store):
    with pytest.raises(InputError, match="memory://logs/none.jsonl: cannot be fetched"):
        expand_inputs(("memory://logs/none.jsonl",))
    with pytest.raises(InputError, match="memory://logs/x: no log is there") as caught:
        store.makedirs("/logs/x")
        expand_inputs(("memory://logs/x",))
    assert "secret" not in str(caught.value)
    with pytest.raises(InputError) as caught:
        expand_inputs(("nowhere://user:secret@host/x?token=secret",))
    assert "secret" not in str(caught.value)


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a log and much that is none."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "odd"
    (folder / "_old").mkdir(parents=True)
    (folder / "log.jsonl").touch()
    (folder / "_old" / "log.jsonl").touch()
    (folder / "gone.jsonl").symlink_to(folder / "nothing.jsonl")
    (tmp_path / "elsewhere").mkdir()
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(folder / "pipe.jsonl")
    for name in (
        "data.arrow",
        "state.json",
        "dataset_info.json",
        "notes.txt",
        "notes.tar.gz",
        "LICENSE",
        "table.parquet.gz",
    ):
        (folder / name).touch()
    return folder


def test_what_lies_in_a_folder_and_is_not_read_is_counted_by_kind(odd: Path) -> None:
    inputs = expand_inputs(("odd",))
    assert [file.name for file in inputs.files] == ["odd/data.arrow", "odd/log.jsonl"]
    assert inputs.skipped == {
        ".json": 2,
        ".parquet.gz": 1,
        ".tar.gz": 1,
        ".txt": 1,
        "hidden": 1,
        "link to a folder": 1,
        "link to nothing": 1,
        "pipe or device": 1,
        "without suffix": 1,
    }
    assert expand_inputs(("odd/*",)).skipped == {
        kind: n for kind, n in inputs.skipped.items() if kind not in ("hidden", "link to a folder")
    }
    # What is named all the same was not skipped.
    assert expand_inputs(("odd", "odd/notes.txt")).skipped == {
        kind: n for kind, n in inputs.skipped.items() if kind != ".txt"
    }


def test_a_pipe_that_is_named_and_a_folder_without_a_log_say_what_is_there(odd: Path) -> None:
    with pytest.raises(InputError, match=r"pipe.jsonl: neither a file nor a folder \(a pipe"):
        expand_inputs(("odd/pipe.jsonl",))
    with pytest.raises(InputError, match="gone.jsonl: no such file"):
        expand_inputs(("odd/gone.jsonl",))
    with pytest.raises(InputError, match=r"below it\. What there is: \.txt 1\."):
        expand_inputs(("odd/*.txt",))


def test_names_that_are_not_utf_8_are_told_as_tables_can_hold_them(tmp_path: Path) -> None:
    for name in (b"\xff.jsonl", b"a.\xff"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).touch()
    found = expand_inputs((str(tmp_path),))
    assert [file.name for file in found.files] == [f"{tmp_path}/\\xff.jsonl"] and found.files[0].path.is_file()
    assert found.skipped == {r".\xff": 1}


def _as_nobody(entry: str) -> str:
    """What `expand_inputs` says as a user without rights, in a process of its own."""
    reads, writes = os.pipe()
    if (child := os.fork()) == 0:
        os.setuid(65534)
        try:
            said = repr([file.name for file in expand_inputs((entry,)).files])
        except InputError as error:
            said = str(error)
        os.write(writes, said.encode())
        os._exit(0)
    os.close(writes)
    os.waitpid(child, 0)
    with os.fdopen(reads) as stream:
        return stream.read()


@pytest.mark.skipif(os.geteuid() != 0, reason="gives up rights that only root has to give")
@pytest.mark.parametrize("entry", ["", "/*", "/**/*.jsonl", "/*/b.jsonl"])
def test_a_folder_that_cannot_be_read_is_an_error(entry: str) -> None:
    with TemporaryDirectory(prefix="thumbline-test-") as place:
        Path(place).chmod(0o755)
        (Path(place) / "a.jsonl").touch()
        closed = Path(place) / "closed"
        closed.mkdir()
        (closed / "b.jsonl").touch()
        assert f"{closed.name}/b.jsonl" in _as_nobody(place + entry) or entry == "/*/b.jsonl"
        closed.chmod(0o000)
        assert f"{closed}: " in (said := _as_nobody(place + entry)) and "cannot be read" in said
        closed.chmod(0o755)
        (closed / "b.jsonl").chmod(0o000)
        assert f"{closed / 'b.jsonl'}: cannot be read" in _as_nobody(place + entry)


def test_a_data_set_as_datasets_saves_it_is_its_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Dataset.from_list([{"prompt": f"q{number}", "completion": "a", "label": True} for number in range(7)])
    DatasetDict({"train": rows, "test": rows.select(range(2))}).save_to_disk(str(tmp_path / "saved"))
    monkeypatch.chdir(tmp_path)
    inputs = expand_inputs(("saved",))
    assert [file.path.suffix for file in inputs.files] == [".arrow", ".arrow"]
    assert inputs.said == ["5 files were not read: .json 5"]
    result = ingest(EventsConfig(inputs=("saved",), workers=1))
    assert (result.counts.rows_out, result.counts.merged, result.counts.rejected) == (7, 2, 0)

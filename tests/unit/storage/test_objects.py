"""Objects at an address: what fails a while is tried again, what cannot be is told in one message."""

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from thumbline.pipeline.errors import ConfigError, InputError, MachineError, MissingDependencyError
from thumbline.pipeline.storage import objects as objects_module
from thumbline.pipeline.storage import patience
from thumbline.pipeline.storage.objects import Objects, open_objects


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(patience, "PAUSES", (0.0, 0.0))


@pytest.fixture
def store(tmp_path):
    # Names are no patterns.
    return open_objects(f"memory://{tmp_path.name}/r[1]*", "runs")


def test_what_is_written_can_be_read_listed_copied_and_deleted(store, tmp_path):
    store.write("a/b.txt", b"one")
    assert store.create("a/c.txt", b"two") and not store.create("a/c.txt", b"three")
    assert store.read("a/c.txt") == b"two" and store.read("a/none") is None
    assert store.read_all(["a/b.txt", "a/none", "a/c.txt"]) == {"a/b.txt": b"one", "a/c.txt": b"two"}
    (tmp_path / "file").write_bytes(b"from disk")
    store.put(tmp_path / "file", "a/deep/er/d")
    assert store.sizes("a") == {"b.txt": 3, "c.txt": 3, "deep/er/d": 9} and store.sizes("none") == {}
    assert store.entries("a") == ["b.txt", "c.txt", "deep"] and store.entries("none") == []
    store.get("a/deep/er/d", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"from disk"
    store.copy("a/b.txt", "z")
    store.remove(["a/b.txt", "a/none"])
    assert store.read("z") == b"one" and store.read("a/b.txt") is None
    assert store.address("a").startswith("memory://") and store.address("a").endswith("r[1]*/a")


def test_what_fails_for_a_while_is_tried_again(store, monkeypatch):
    left = [OSError("503"), ConnectionError("cut")]
    right = MemoryFileSystem.pipe_file

    def failing(self, *given, **named):
        if left:
            raise left.pop()
        return right(self, *given, **named)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", failing)
    store.write("a", b"x")
    assert store.read("a") == b"x" and left == []


def test_what_keeps_failing_is_told_with_the_way_on(store, monkeypatch):
    monkeypatch.setattr(
        MemoryFileSystem, "cat_file", lambda *_, **__: (_ for _ in ()).throw(OSError("503 SlowDown\nx"))
    )
    with pytest.raises(
        MachineError, match=r"r\[1\]\*/a: cannot be read, in 3 tries \(OSError: 503 SlowDown\). Once the"
    ):
        store.read("a")


def test_what_is_refused_is_not_tried_again(store, monkeypatch):
    tries = []

    def refused(*_, **__):
        tries.append(1)
        raise PermissionError("Access Denied")

    monkeypatch.setattr(MemoryFileSystem, "cat_file", refused)
    with pytest.raises(InputError, match=r"cannot be read \(PermissionError: Access Denied\). Look at the address"):
        store.read("a")
    assert len(tries) == 1


def test_a_lost_answer_to_a_conditional_put_is_no_refusal(store, monkeypatch):
    right = MemoryFileSystem.pipe_file

    def losing(self, *given, **named):
        right(self, *given, **named)
        raise ConnectionError("answer lost")

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", losing)
    assert store.create("a", b"mine") and not store.create("a", b"another's")
    assert store.read("a") == b"mine"


class EndpointConnectionError(Exception):
    """As a client calls it, whose own tries are over."""


@pytest.mark.parametrize("answers_first", [False, True])
def test_an_address_that_never_answered_is_told_at_once(answers_first, store, monkeypatch):
    store.write("a", b"x")
    store = open_objects(store.address(), "runs")
    assert not answers_first or store.read("a") == b"x"
    tries = []

    def unreachable(*_, **__):
        tries.append(1)
        raise OSError("no connection") from EndpointConnectionError("Could not connect")

    monkeypatch.setattr(MemoryFileSystem, "cat_file", unreachable)
    said = "in 3 tries" if answers_first else "the store is not to be reached .*Look at the address, at its endpoint"
    with pytest.raises(MachineError, match=said):
        store.read("a")
    assert len(tries) == (3 if answers_first else 1)


def test_no_secret_is_told(monkeypatch):
    monkeypatch.setenv("MY_SECRET", "hunter2hunter2")
    system = MemoryFileSystem()
    monkeypatch.setattr(
        MemoryFileSystem, "cat_file", lambda *_, **__: (_ for _ in ()).throw(PermissionError("key hunter2hunter2"))
    )
    with pytest.raises(InputError) as told:
        Objects(system, "/x", "memory://x").read("a")
    assert "hunter2" not in str(told.value) and "(kept secret)" in str(told.value)


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        ("sftp://host/runs", ConfigError, "runs: sftp://host/runs is no object store's address"),
        ("s3://(kept secret)@bucket/x", ConfigError, "the secret of .* is kept nowhere"),
        ("s3://bucket/runs", MissingDependencyError, r"s3://bucket/runs needs s3fs, .*pip install 'thumbline\[s3\]'"),
        ("gs://bucket/runs", MissingDependencyError, r"gs://bucket/runs needs gcsfs, .*pip install 'thumbline\[gs\]'"),
        ("abfs://bucket/runs", MissingDependencyError, r"needs adlfs, .*pip install 'thumbline\[az\]'"),
    ],
)
def test_an_address_that_cannot_be_opened_is_explained(address, error, message, monkeypatch):
    monkeypatch.setattr(objects_module, "is_installed", lambda _: False)
    with pytest.raises(error, match=message):
        open_objects(address, "runs")

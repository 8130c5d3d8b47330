"""Unfinished work at a run's address: what is brought is whole, of the same work and further than what is here."""

import pytest

from thumbline.pipeline.errors import BusyError, MachineError
from thumbline.pipeline.storage import begun as begun_module
from thumbline.pipeline.storage.begun import Begun
from thumbline.pipeline.storage.objects import open_objects


@pytest.fixture(autouse=True)
def no_pace(monkeypatch):
    monkeypatch.setattr(begun_module, "_PACE", -1.0)


@pytest.fixture
def store(tmp_path):
    return open_objects(f"memory://{tmp_path.name}/run", "runs")


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "train.partial"
    made.mkdir()
    (made / ".fingerprint").write_text("f1")
    return made


def held() -> None:
    """Nobody else has taken the run."""


def checkpoint(folder, step, best=None):
    for path in folder.glob("checkpoint-*"):
        path.unlink()
    (folder / f"checkpoint-{step:08d}.pt").write_text(f"weights of {step}")
    if best is not None:
        (folder / "shards").mkdir(exist_ok=True)
        (folder / "shards" / "best.pt").write_text(f"best of {best}")


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_another_folder_gets_what_was_published_last(store, folder, tmp_path):
    begun, other = Begun(store), tmp_path / "other"
    checkpoint(folder, 2, best=2)
    begun.publish("train", folder, "f1", 2, held)
    checkpoint(folder, 4)
    begun.publish("train", folder, "f1", 4, held)
    assert store.sizes("train/begun").keys() == {"begun.json", "checkpoint-00000004.pt", "shards/best.pt"}
    assert begun.fetch("train", other, "f1", -1) == 4
    assert files(other) == {"checkpoint-00000004.pt", "shards/best.pt"}
    assert (other / "shards" / "best.pt").read_text() == "best of 2"
    begun.forget("train")
    assert store.sizes("train/begun") == {}


def test_an_unchanged_file_goes_up_once(store, folder, monkeypatch):
    begun, sent = Begun(store), []
    right = store.put
    monkeypatch.setattr(store, "put", lambda path, name: sent.append(path.name) or right(path, name))
    checkpoint(folder, 2, best=2)
    begun.publish("train", folder, "f1", 2, held)
    checkpoint(folder, 4)
    begun.publish("train", folder, "f1", 4, held)
    assert sent == ["checkpoint-00000002.pt", "best.pt", "checkpoint-00000004.pt"]


@pytest.mark.parametrize(("fingerprint", "step"), [("f2", -1), ("f1", 2), ("f1", 3)])
def test_other_work_and_what_is_no_further_is_left(fingerprint, step, store, folder, tmp_path):
    begun = Begun(store)
    checkpoint(folder, 2)
    begun.publish("train", folder, "f1", 2, held)
    assert begun.fetch("train", tmp_path / "other", fingerprint, step) is None
    assert begun.fetch("policy", tmp_path / "other", fingerprint, -1) is None
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_what_is_not_as_it_was_published_is_not_used(damage, store, folder, tmp_path, caplog):
    begun = Begun(store)
    checkpoint(folder, 2, best=2)
    begun.publish("train", folder, "f1", 2, held)
    if damage == "gone":
        store.remove(["train/begun/shards/best.pt"])
    else:
        store.write("train/begun/shards/best.pt", b"best of 3")
    assert begun.fetch("train", tmp_path / "other", "f1", -1) is None
    assert not files(tmp_path / "other")
    assert "shards/best.pt is gone, or not as it was published" in caplog.text


@pytest.mark.parametrize(
    "text", [b"", b"[]", b'{"files": 3}', b'{"fingerprint": "f1", "step": 9, "files": {"../../out": "x"}}']
)
def test_a_document_that_is_none_or_leads_elsewhere_brings_nothing(text, store, tmp_path):
    store.write("train/begun/begun.json", text)
    assert Begun(store).fetch("train", tmp_path / "a" / "other", "f1", -1) is None
    assert not list(tmp_path.rglob("out"))


def test_uploads_keep_a_pace_also_where_they_fail(store, folder, monkeypatch):
    monkeypatch.setattr(begun_module, "_PACE", 1e9)
    tries = []

    def failing(*_):
        tries.append(1)
        raise MachineError("503")

    monkeypatch.setattr(store, "put", failing)
    begun = Begun(store)
    checkpoint(folder, 2)
    with pytest.raises(MachineError, match="503"):
        begun.publish("train", folder, "f1", 2, held)
    begun.publish("train", folder, "f1", 2, held)
    assert len(tries) == 1


def test_a_run_that_was_lost_publishes_nothing(store, folder):
    def lost():
        raise BusyError("another process")

    checkpoint(folder, 2)
    with pytest.raises(BusyError, match="another process"):
        Begun(store).publish("train", folder, "f1", 2, lost)
    assert store.sizes("train") == {}

"""How far an upload is: in MiB where it is large, and what is sent again counts once."""

from contextlib import contextmanager

import pytest

from thumbline.pipeline.storage.objects import open_objects
from thumbline.pipeline.storage.uploads import Furthest, shown, unseen


@contextmanager
def bar(description, total, unit):
    told.append((description, total, unit))
    yield told.append


told: list = []


@pytest.fixture(autouse=True)
def nothing_told():
    told.clear()


def test_a_large_upload_moves_a_bar_to_its_end():
    with shown(bar, "upload of events", 100 << 20) as advance:
        for _ in range(200):
            advance(1 << 19)
    assert told[0] == ("upload of events", 100, "MiB") and sum(told[1:]) == 100


def test_a_small_one_shows_none():
    with shown(bar, "upload of events", 1 << 20) as advance:
        advance(1 << 20)
    assert told == []
    with unseen("upload", 1, "MiB") as advance:
        advance(1)


def test_what_is_sent_again_counts_once():
    furthest = Furthest(told.append)
    for parts in ((3, 4), (3, 4, 5), (12,)):
        callback = furthest.callback()
        for part in parts:
            callback.relative_update(part)
    assert told == [3, 4, 5]


def test_a_store_tells_of_each_file(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 5000)
    store = open_objects(f"memory://{tmp_path.name}/run", "runs")
    store.put(tmp_path / "file", "a", told.append)
    assert sum(told) == 5000 and store.sizes("") == {"a": 5000}

"""A stage's folder is whole or not there at all, and counts add up."""

import os

import pytest

from thumbline.pipeline.errors import TableError
from thumbline.pipeline.storage import files, manifests
from thumbline.pipeline.storage.manifests import Counts, Manifest


def manifest(**other):
    fields = {
        "stage": "s",
        "fingerprint": "f",
        "version": 1,
        "config": {},
        "inputs": {},
        "outputs": {},
        "counts": Counts(rows_in=1, rows_out=1),
        "seconds": 0.0,
        "finished_at": "now",
    }
    return Manifest(**(fields | other))


def test_counts_must_add_up():
    Counts(rows_in=5, rows_out=2, merged=2, rejected=1).check("stage")
    with pytest.raises(TableError, match="5 rows in, but 2 out"):
        Counts(rows_in=5, rows_out=2).check("stage")


def test_what_the_rows_gave_has_to_add_up_where_it_is_another_number():
    counts = Counts(rows_in=3, gave=5, rows_out=4, rejected=1, made={"pairs": 2})
    counts.check("stage")
    assert counts.given == 5
    with pytest.raises(TableError, match="stage: 3 rows in gave 6, but 4 out"):
        counts.model_copy(update={"gave": 6}).check("stage")


def test_a_working_folder_survives_only_under_the_same_fingerprint(tmp_path):
    stage = tmp_path / "stage"
    folder = manifests.open_partial(stage, "f")
    (folder / "shard").write_text("done")
    assert (manifests.open_partial(stage, "f") / "shard").exists()
    assert not (manifests.open_partial(stage, "g") / "shard").exists()
    (folder / "shard").touch()
    # As a flipped bit leaves it.
    (folder / ".fingerprint").write_bytes(b"\xb3")
    assert not (manifests.open_partial(stage, "g") / "shard").exists()


def test_a_resumed_stage_keeps_no_hidden_file_of_a_killed_process(tmp_path):
    stage = tmp_path / "stage"
    folder = manifests.open_partial(stage, "f")
    for name in (".buckets-a/1.arrow", ".events.parquet.7.tmp", "model/.weights.7.tmp", "model/weights"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("rows")
    manifests.open_partial(stage, "f")
    assert {path.name for path in folder.rglob("*") if path.is_file()} == {".fingerprint", "weights"}
    # A worker may outlive its parent by a moment.
    (folder / ".buckets-a").mkdir()
    (folder / ".buckets-a" / "1.arrow").write_text("rows")
    manifests.publish(stage, manifest())
    assert {path.name for path in stage.rglob("*")} == {manifests.MANIFEST, "model", "weights"}


def test_publication_replaces_the_old_folder_and_finishes_when_interrupted(tmp_path):
    stage = tmp_path / "stage"
    manifests.open_partial(stage, "old")
    manifests.publish(stage, manifest(fingerprint="old"))
    folder = manifests.open_partial(stage, "new")
    # Killed between the manifest and the rename:
    files.write_text(folder / manifests.MANIFEST, manifest(fingerprint="new").model_dump_json())
    assert manifests.read_manifest(stage).fingerprint == "old"
    manifests.recover_published(stage)
    assert manifests.read_manifest(stage).fingerprint == "new"
    assert not manifests.partial_dir(stage).exists()


def test_a_pipe_in_place_of_a_manifest_is_a_damaged_one_and_nobody_waits_for_it(tmp_path):
    os.mkfifo(tmp_path / manifests.MANIFEST)
    assert manifests.read_manifest(tmp_path) is None
    assert manifests.is_damaged(tmp_path)

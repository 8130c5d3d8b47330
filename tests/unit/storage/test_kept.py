"""What a stage wrote is read as it was written, or not at all."""

import json
import os
import shutil
from pathlib import Path

import polars as pl
import pytest

from tests.unit.storage.test_manifests import manifest
from thumbline.pipeline.errors import InputError, TableError
from thumbline.pipeline.storage import kept, manifests
from thumbline.pipeline.storage.parquet import count_rows, read_parquet, write_parquet
from thumbline.pipeline.storage.tables import iter_table, read_parts, read_table
from thumbline.pipeline.tables import polars_schema

SPLITS = pl.DataFrame([["a", "a", "train"], ["b", "b", "test"]], schema=polars_schema("splits"), orient="row")


@pytest.fixture
def stage(tmp_path):
    """A finished stage of a run: a table, a model of two files, a page."""
    for name in ("config.yaml", ".lock"):
        (tmp_path / name).touch()
    folder = manifests.open_partial(tmp_path / "splits", "f")
    write_parquet(folder / "splits.parquet", SPLITS)
    (folder / "model").mkdir()
    for name in ("model/weights", "model/tokenizer.json", "page.html"):
        (folder / name).write_text(f"content of {name}")
    manifests.publish(tmp_path / "splits", manifest(stage="splits", files={"model": "digest"}))
    return tmp_path / "splits"


def flip(path, place=-1):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_a_manifest_names_the_digest_of_every_file(stage):
    written = manifests.read_manifest(stage)
    assert sorted(written.contents) == ["model/tokenizer.json", "model/weights", "page.html", "splits.parquet"]
    assert kept.changed_files(stage, written) == []


@pytest.mark.parametrize("name", ["splits.parquet", "model/weights", "model/tokenizer.json", "page.html"])
def test_a_flipped_bit_of_any_file_is_seen(stage, name):
    flip(stage / name)
    assert kept.changed_files(stage, manifests.read_manifest(stage)) == [name]


def test_what_was_deleted_whole_was_not_changed_but_a_model_without_one_of_its_files_was(stage):
    (stage / "page.html").unlink()
    (stage / "model" / "tokenizer.json").unlink()
    assert kept.changed_files(stage, manifests.read_manifest(stage)) == ["model/tokenizer.json"]
    (stage / "model" / "weights").unlink()
    (stage / "model").rmdir()
    assert kept.changed_files(stage, manifests.read_manifest(stage)) == []


def link_to_folder(path):
    path.symlink_to(path.parent)


@pytest.mark.parametrize("instead", [Path.mkdir, os.mkfifo, link_to_folder])
@pytest.mark.parametrize("name", ["splits.parquet", "model/weights"])
def test_what_is_no_file_where_one_was_written_is_damage(stage, name, instead):
    (stage / name).unlink()
    instead(stage / name)
    assert kept.changed_files(stage, manifests.read_manifest(stage)) == [name]
    with pytest.raises(TableError, match=f"{name}.*: its bytes are not those that stage 'splits' wrote"):
        kept.check_kept_folder(stage / "model") if "/" in name else kept.check_kept(stage / name)


def test_a_file_in_place_of_a_model_is_damage(stage):
    shutil.rmtree(stage / "model")
    (stage / "model").touch()
    assert kept.changed_files(stage, manifests.read_manifest(stage)) == ["model/tokenizer.json", "model/weights"]


@pytest.mark.parametrize(
    "read",
    [
        lambda path: read_table(path, "splits"),
        lambda path: list(read_parts(path, "splits")),
        lambda path: list(iter_table(path, "splits", ["prompt_id"])),
        read_parquet,
        count_rows,
    ],
)
def test_every_way_of_reading_a_table_refuses_one_that_was_changed(stage, read):
    flip(stage / "splits.parquet", 20)
    with pytest.raises(TableError, match=r"splits\.parquet: its bytes are not those that stage 'splits' wrote.*--from"):
        read(stage / "splits.parquet")


def test_a_model_is_refused_with_the_number_of_its_files(stage):
    kept.check_kept_folder(stage / "model")
    flip(stage / "model" / "weights")
    flip(stage / "model" / "tokenizer.json")
    with pytest.raises(TableError, match=r"tokenizer\.json \(and 1 more beside it\): its bytes are not those"):
        kept.check_kept_folder(stage / "model")


def test_a_manifest_is_not_believed_with_any_bit_flipped(stage):
    path = stage / manifests.MANIFEST
    whole, read = path.read_bytes(), manifests.read_manifest(stage)
    for bit in range(0, len(whole) * 8, 41):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        # White space, or the digest's own name: nothing else may differ.
        assert manifests.read_manifest(stage) in (None, read)
    path.write_text(json.dumps(json.loads(whole) | {"notes": {"said": ["other"]}}))
    assert manifests.is_damaged(stage)
    with pytest.raises(TableError, match=r"manifest\.json: not as the stage wrote it.*--from splits"):
        read_table(stage / "splits.parquet", "splits")


@pytest.mark.parametrize("damage", [b"", b"[1]", b"\xff", b"{}", b"[" * 100_000])
def test_a_manifest_that_is_none_is_damaged(stage, damage):
    (stage / manifests.MANIFEST).write_bytes(damage)
    assert manifests.read_manifest(stage) is None
    assert manifests.is_damaged(stage)


def test_a_manifest_of_an_older_version_is_read_and_its_tables_are_held_against_it(stage):
    document = json.loads((stage / manifests.MANIFEST).read_text())
    digest = document["contents"]["splits.parquet"]
    document |= {"outputs": {"splits": {"file": "splits.parquet", "rows": 2, "sha256": digest}}}
    del document["check"], document["contents"]
    (stage / manifests.MANIFEST).write_text(json.dumps(document))
    assert read_table(stage / "splits.parquet", "splits").height == 2
    flip(stage / "splits.parquet", 20)
    with pytest.raises(TableError, match="its bytes are not those"):
        read_table(stage / "splits.parquet", "splits")


def test_a_manifest_of_another_tool_says_nothing_of_a_file(tmp_path):
    write_parquet(tmp_path / "rows.parquet", pl.DataFrame({"a": [1]}))
    (tmp_path / manifests.MANIFEST).write_text('{"files": ["rows.parquet"]}')
    assert read_parquet(tmp_path / "rows.parquet").height == 1


def test_a_checked_text_is_read_as_it_was_written_or_refused(tmp_path):
    path = tmp_path / "config.yaml"
    kept.write_checked(path, "beta: 0.1\n# é\n")
    kept.check_text(path)
    whole = path.read_bytes()
    for bit in range(8, len(whole) * 8, 11):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"config\.yaml: not as it was written"):
            kept.check_text(path)
    path.write_text("beta: 0.1\n")
    kept.check_text(path)

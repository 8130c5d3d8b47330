import polars as pl
import pytest

from thumbline.pipeline.errors import InputError, TableError
from thumbline.pipeline.storage import digests, files, manifests, parquet, writing
from thumbline.pipeline.storage.manifests import Counts, Manifest
from thumbline.pipeline.tables import TABLES, describe_table, polars_schema, validate

LOGPS = pl.DataFrame(
    {"sequence_id": ["a" * 32, "b" * 32], "logps": [-1.5, 0.0], "token_count": [3, 1]},
    schema=polars_schema("reference"),
)


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


def test_a_table_comes_back_as_it_was_and_the_same_rows_give_the_same_bytes(tmp_path):
    first = writing.write_table(tmp_path / "a.parquet", "reference", LOGPS)
    second = writing.write_table(tmp_path / "b.parquet", "reference", LOGPS)
    assert first.sha256 == second.sha256
    assert parquet.read_table(tmp_path / "a.parquet", "reference").equals(LOGPS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "b.parquet"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logps": [-1.0, float("nan")]}, "column 'logps' fails not_nullable|column 'logps' fails .*0.0"),
        ({"logps": [-1.0, 2.0]}, r"column 'logps' fails less_than_or_equal_to\(0.0\) \(1\)"),
        ({"sequence_id": ["a" * 32] * 2}, "column 'sequence_id' fails field_uniqueness"),
        ({"sequence_id": ["a" * 32, "row 1"]}, "column 'sequence_id' fails str_matches"),
        ({"token_count": [1, 0]}, "column 'token_count' fails greater_than_or_equal_to"),
    ],
)
def test_values_are_checked_not_only_types(change, message):
    broken = LOGPS.with_columns(pl.Series(name, values) for name, values in change.items())
    with pytest.raises(TableError, match=message):
        validate("reference", broken)


def test_missing_and_surplus_columns_are_named():
    with pytest.raises(TableError, match="column 'logps' is missing"):
        validate("reference", LOGPS.drop("logps"))
    with pytest.raises(TableError, match="column 'more' is not part of it"):
        validate("reference", LOGPS.with_columns(more=1))


def test_a_broken_table_never_shows_its_values():
    with pytest.raises(TableError) as caught:
        validate("reference", LOGPS.with_columns(sequence_id=pl.Series(["my secret text", "b" * 32])))
    assert "secret" not in str(caught.value)


def test_repeats_are_seen_across_batches(monkeypatch):
    monkeypatch.setattr("thumbline.pipeline.tables.checks._ROWS_PER_CHECK", 1)
    with pytest.raises(TableError, match="key \\(sequence_id\\) repeats"):
        validate("reference", pl.concat([LOGPS, LOGPS]))


@pytest.mark.parametrize("table", sorted(TABLES))
def test_every_table_accepts_no_rows_and_can_be_described(table):
    validate(table, pl.DataFrame(schema=polars_schema(table)))
    whole = polars_schema(table, optional=True)
    validate(table, pl.DataFrame(schema=whole))
    assert [row["column"] for row in describe_table(table)] == whole.names()


def test_an_unknown_table_lists_the_known_ones():
    with pytest.raises(TableError, match="Did you mean 'pairs'"):
        validate("pair", LOGPS)


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError), files.atomic_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_parts_are_bounded_or_end_with_a_prompt(tmp_path):
    ids = [f"{number:032x}" for number in (1, 1, 1, 1, 1, 2, 3, 3)]
    table = polars_schema("splits").to_frame().clear(len(ids)).with_columns(prompt_id=pl.Series(ids))
    parquet.write_parquet(tmp_path / "splits.parquet", table)
    parts = list(parquet.read_parts(tmp_path / "splits.parquet", "splits", part_rows=2))
    assert [part.height for part in parts] == [2, 2, 2, 2]
    assert pl.concat(parts).equals(table)
    whole = list(parquet.read_by_prompt(tmp_path / "splits.parquet", "splits", ["prompt_id"], 2))
    assert [part.height for part in whole] == [5, 3]
    assert pl.concat(whole)["prompt_id"].to_list() == ids
    parquet.write_parquet(tmp_path / "empty.parquet", table.clear())
    for read in (parquet.read_parts, parquet.read_by_prompt):
        assert [part.height for part in read(tmp_path / "empty.parquet", "splits")] == [0]


def test_some_columns_and_rows_of_a_table_are_read_without_what_it_may_lack(tmp_path):
    parquet.write_parquet(tmp_path / "a.parquet", LOGPS)
    found = parquet.read_table(tmp_path / "a.parquet", "reference", ["logps", "token_logps"], pl.col("logps") < 0)
    assert found.to_dict(as_series=False) == {"logps": [-1.5]}
    with pytest.raises(InputError, match="no such file"):
        parquet.read_table(tmp_path / "none.parquet", "reference")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:100])
    with pytest.raises(InputError, match="cut.parquet: not readable as Parquet"):
        parquet.read_table(tmp_path / "cut.parquet", "reference", ["logps"])


def test_a_users_cut_file_is_named(tmp_path):
    path = tmp_path / "cut.parquet"
    parquet.write_parquet(path, LOGPS)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="cut.parquet: not readable as Parquet"):
        parquet.read_parquet(path)
    with pytest.raises(InputError, match="no such file"):
        parquet.read_parquet(tmp_path / "none.parquet")


def test_a_table_of_another_version_is_refused(tmp_path):
    parquet.write_parquet(tmp_path / "a.parquet", LOGPS.drop("logps"))
    with pytest.raises(TableError, match="Another version wrote it"):
        parquet.read_table(tmp_path / "a.parquet", "reference")


def test_counts_must_add_up():
    Counts(rows_in=5, rows_out=2, merged=2, rejected=1).check("stage")
    with pytest.raises(TableError, match="5 rows in, but 2 out"):
        Counts(rows_in=5, rows_out=2).check("stage")


def test_a_working_folder_survives_only_under_the_same_fingerprint(tmp_path):
    stage = tmp_path / "stage"
    folder = manifests.open_partial(stage, "f")
    (folder / "shard").write_text("done")
    assert (manifests.open_partial(stage, "f") / "shard").exists()
    assert not (manifests.open_partial(stage, "g") / "shard").exists()


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


def test_digests_tell_parts_apart():
    assert digests.digest_text("ab", "c") != digests.digest_text("a", "bc")
    assert digests.digest_json({"a": 1, "b": 2}) == digests.digest_json({"b": 2, "a": 1})

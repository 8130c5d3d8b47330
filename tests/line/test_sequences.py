"""The stage `sequences`: the same bytes however its work is cut, and each sequence once."""

from contextlib import contextmanager

import pytest

from tests.line.conftest import write_config
from tests.soaking import mostly_soaked
from thumbline.pipeline import line
from thumbline.pipeline.config import load_config
from thumbline.pipeline.context import BatchSizes, SilentReporter, StageContext
from thumbline.pipeline.errors import InputError
from thumbline.pipeline.stages import sequences
from thumbline.pipeline.storage.tables import read_table

# So short that prompts which differ in their beginning are the same sequences.
CUT = {"max_tokens": 44, "truncation": "keep_end"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory, small_log, tiny_model):
    """A run with sections of its own, done up to the splits."""

    def run(name, **sections):
        folder = tmp_path_factory.mktemp(name)
        config = load_config(write_config(folder, small_log, tiny_model, name=name, **sections))
        list(line.run(config, line.select(None, "splits")))
        return config

    return run


def made(config, folder, reporter=None, **sizes):
    folder.mkdir()
    tables = {table: config.run_dir / table / f"{table}.parquet" for table in sequences.INPUTS}
    context = StageContext(config, folder, tables, reporter or SilentReporter(), config.run_dir, BatchSizes(**sizes))
    return sequences.run(context)


SECTIONS = {
    "dpo": {},
    "kto": {"train": {"method": "kto"}},
    "cut": {"train": {"method": "kto"}, "sequences": CUT},
    "grouped": {"train": {"method": "kto"}, "sequences": CUT, "pairs": {"group_prompts": "near_duplicate"}},
}


@pytest.mark.parametrize("name", mostly_soaked(sorted(SECTIONS), ["grouped"]))
def test_the_same_bytes_however_the_work_is_cut(runs, tmp_path, name):
    config = runs(name, **SECTIONS[name])
    whole = made(config, tmp_path / "whole")
    for part_rows, held_bytes, bucket_rows in ((17, 2_000, 5), (1, 1, 1)):
        sizes = {"part_rows": part_rows, "sorted_bytes": held_bytes, "partner_rows": bucket_rows}
        cut = made(config, tmp_path / f"{part_rows}", **sizes)
        assert cut == whole
        assert sorted(path.stem for path in (tmp_path / f"{part_rows}").iterdir()) == sorted(sequences.OUTPUTS)
    whole.counts.check("sequences")
    assert (whole.notes["mismatched_rows"] > 0) == (name != "dpo")


def test_a_sequence_of_two_prompts_is_there_once_also_where_they_are_in_two_parts(runs, tmp_path):
    config = runs("once", train={"method": "kto"}, sequences=CUT)
    result = made(config, tmp_path / "run", part_rows=1)
    assert result.counts.merged > 0
    ids = read_table(tmp_path / "run" / "sequences.parquet", "sequences")["sequence_id"]
    assert ids.is_sorted() and ids.n_unique() == len(ids) == result.counts.rows_out
    rows = read_table(tmp_path / "run" / "row_sequences.parquet", "row_sequences")
    assert set(rows["sequence_id"]) == set(ids)
    assert rows.equals(rows.sort("response_id", "role"))


class Counting(SilentReporter):
    """Adds up what a bar was told."""

    total = seen = 0

    @contextmanager
    def progress(self, description, total, unit):
        self.total = total
        yield self.advance

    def advance(self, count):
        self.seen += count


def test_progress_ends_at_the_number_of_prompts(runs, tmp_path):
    reporter = Counting()
    made(runs("progress", train={"method": "kto"}), tmp_path / "run", reporter)
    assert reporter.seen == reporter.total > 0


def test_where_every_row_is_dropped_it_is_said_why(runs, tmp_path):
    config = runs("dropped", sequences={"max_tokens": 5})
    with pytest.raises(InputError, match=r"all \d+ rows were dropped \(too_long \d+\).*now 5"):
        made(config, tmp_path / "run")


def test_a_method_that_takes_other_rows_makes_the_sequences_anew(runs):
    config = runs("methods")
    list(line.run(config, line.select("sequences", "sequences")))
    plans = {
        method: line.plan(
            config.model_copy(update={"train": config.train.model_copy(update={"method": method})}),
            line.select("sequences", "sequences"),
        )[0]
        for method in ("dpo", "ipo", "kto", "bco")
    }
    assert {method: planned.action for method, planned in plans.items()} == {
        "dpo": "skip",
        "ipo": "skip",
        "kto": "run",
        "bco": "run",
    }
    assert plans["kto"].reason == "changed setting mismatched, training_rows"
    assert plans["bco"].reason == "changed setting training_rows"

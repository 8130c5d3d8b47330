"""The stage `sequences`: the same bytes however its work is cut, and each sequence once."""

import json
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
from thumbline.pipeline.training.asked import PROMPT_TABLES, held_out_prompts

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


def with_thoughts(log, path):
    """The log, with a thought before every second row's answer."""
    lines = log.read_text().splitlines()[:-1]
    rows = [json.loads(text) for text in lines]
    for number, row in enumerate(rows):
        if number // 2 % 2:
            row["response"] = f"<think>soil {number // 2}</think>{row['response']}"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_masked_thoughts_are_given_and_not_scored_and_are_no_part_of_the_prompt(small_log, tiny_model, tmp_path):
    log = with_thoughts(small_log, tmp_path / "thoughts.jsonl")
    tables, notes = {}, {}
    for think in ("keep", "mask"):
        config = load_config(write_config(tmp_path, log, tiny_model, name=think, sequences={"think": think}))
        *_, done = line.run(config, line.select(None, "sequences"))
        folder = config.run_dir / "sequences"
        rows = read_table(folder / "row_sequences.parquet", "row_sequences")
        tables[think] = rows.join(read_table(folder / "sequences.parquet", "sequences"), on="sequence_id")
        notes[think] = done.manifest.notes
        context = StageContext(
            config,
            folder,
            {name: config.run_dir / line.producer_of(name).name / f"{name}.parquet" for name in PROMPT_TABLES},
            SilentReporter(),
            config.run_dir,
        )
        tables[f"{think} prompts"] = held_out_prompts(context, "test")
    kept, masked = tables["keep"].sort("response_id"), tables["mask"].sort("response_id")
    thought = masked["thought_token_count"]
    assert kept["response_id"].equals(masked["response_id"]) and 0 < (thought > 0).sum() < len(thought)
    assert (masked["completion_token_count"] + thought).equals(kept["completion_token_count"])
    assert (masked["prompt_token_count"] - thought).equals(kept["prompt_token_count"])
    assert ((kept["sequence_id"] == masked["sequence_id"]) == (thought == 0)).all()
    # Rows with one are counted either way, and the prompts that answers are sampled to are the same.
    counts = notes["keep"]["noticed"]["thought_kept"], notes["mask"]["noticed"]["thought_masked"]
    assert counts == ((thought > 0).sum(), (thought > 0).sum())
    assert "neither scored nor trained on" in notes["mask"]["said"][0]
    assert tables["keep prompts"].equals(tables["mask prompts"])


def test_thoughts_that_are_kept_change_no_fingerprint_of_older_runs(runs):
    config = runs("settings")
    assert not {"think", "think_marks"} & sequences.settings(config).keys()
    masked = config.model_copy(update={"sequences": config.sequences.model_copy(update={"think": "mask"})})
    assert sequences.settings(masked)["think"] == "mask"

"""What a user decides about an evaluation changes its numbers, and is checked before anything else."""

import json
import logging
import re
import subprocess

import numpy as np
import polars as pl
import pytest

from tests.unit.evaluation.rows import outcome, run_like, scored, subject
from thumbline.pipeline.errors import ConfigError, InputError
from thumbline.pipeline.evaluation.outcome import Choices, check_choices, write_outcome
from thumbline.pipeline.evaluation.scoring import model_names
from thumbline.pipeline.evaluation.stored import read_subject
from thumbline.pipeline.storage.sums import SUMS
from thumbline.pipeline.tables import polars_schema


@pytest.mark.parametrize("choice", [{"draws": 500}, {"confidence": 0.8}, {"seed": 1}])
def test_the_choices_of_resampling_move_the_interval_alone(choice):
    uneven = subject(scored("m", list(np.random.default_rng(0).standard_normal(40))), baseline=None)
    rows = [
        found.metrics.filter(pl.col("metric") == "mean").row(0, named=True)
        for found in (outcome(uneven), outcome(uneven, **choice))
    ]
    assert rows[0]["value"] == rows[1]["value"]
    assert (rows[0]["ci_low"], rows[0]["ci_high"]) != (rows[1]["ci_low"], rows[1]["ci_high"])


@pytest.mark.parametrize(("choice", "mean"), [({}, 0.02), ({"beta": 0.5}, 0.1), ({"reward": "sum_logps"}, 0.02)])
def test_the_choices_of_reward_move_the_margin(choice, mean):
    # 30 pairs at +1 nat and 20 at -1: 0.2 nats in the mean, times beta.
    found = outcome(run_like(30, 20), **choice).metrics
    row = found.filter((pl.col("metric") == "mean") & (pl.col("model") == "trained")).row(0, named=True)
    assert row["value"] == pytest.approx(mean)


def test_the_baseline_is_what_others_are_compared_with():
    three = subject(scored("untrained", [0.0] * 10), scored("a", [1.0] * 10), scored("b", [-1.0] * 10))
    assert outcome(three).judged() == ["a", "b"]
    assert outcome(three, baseline="a").judged() == ["b", "untrained"]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"draws": 99}, "bootstrap_draws is 99"),
        ({"confidence": 1.0}, "confidence is 1.0"),
        ({"seed": -1}, "seed is -1"),
        ({"beta": 0.0}, "beta is 0.0"),
        ({"reward": "best"}, "reward is 'best'"),
    ],
)
def test_a_choice_out_of_range_is_refused_at_once(choice, message):
    with pytest.raises(ConfigError, match=message):
        check_choices(Choices(**choice))


def test_what_was_written_is_read_back_with_its_reward_and_baseline(tmp_path):
    before = outcome(run_like(15, 5), reward="sum_logps", beta=0.3)
    told = write_outcome(before, tmp_path / "out", "thumbline evaluate")
    assert "beats" in told.sentence or "no improvement" in told.sentence
    again = read_subject(str(tmp_path / "out"))
    assert (again.reward, again.beta, again.baseline, again.name) == ("sum_logps", 0.3, "untrained", "out")
    assert outcome(again).metrics.equals(before.metrics)


def test_a_broken_metrics_file_is_named(tmp_path):
    write_outcome(outcome(run_like(15, 5)), tmp_path, "")
    # Who edits the files by hand says so.
    (tmp_path / SUMS).unlink()
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(InputError, match=r"metrics.json: no JSON"):
        read_subject(str(tmp_path))
    for wrong in ([1], {"reward": {"kind": "best"}}, {"reward": {"kind": ["implicit"]}}, {"reward": {"beta": "0.1"}}):
        (tmp_path / "metrics.json").write_text(json.dumps(wrong))
        with pytest.raises(InputError, match="not the metrics of an evaluation"):
            read_subject(str(tmp_path))


@pytest.mark.parametrize("name", ["scored_pairs.parquet", "metrics.json", SUMS])
def test_a_file_of_an_evaluation_that_was_damaged_is_refused(tmp_path, name):
    write_outcome(outcome(run_like(15, 5)), tmp_path, "")
    read_subject(str(tmp_path))
    content = bytearray((tmp_path / name).read_bytes())
    # The first digest is that of metrics.json.
    content[0 if name == SUMS else len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"its bytes are not those that the evaluation wrote, by {SUMS}"):
        read_subject(str(tmp_path))


def test_the_digests_are_those_that_sha256sum_reads(tmp_path):
    write_outcome(outcome(run_like(15, 5)), tmp_path, "")
    written = {path.name for path in tmp_path.iterdir()} - {SUMS}
    lines = (tmp_path / SUMS).read_text().splitlines()
    assert {line.split("  ")[1] for line in lines} == written
    assert subprocess.run(["sha256sum", "-c", "--quiet", SUMS], cwd=tmp_path, check=False).returncode == 0


def test_an_evaluation_that_is_written_again_has_its_own_digests(tmp_path):
    write_outcome(outcome(run_like(15, 5)), tmp_path, "")
    write_outcome(outcome(run_like(5, 15)), tmp_path, "")
    assert read_subject(str(tmp_path)).model_names() == ["trained", "untrained"]


def test_a_models_name_is_short_where_it_can_be(tmp_path):
    for place in ("a/train/model", "b/train/model", "c/tuned", "d/tuned"):
        (tmp_path / place).mkdir(parents=True)
    one, two, three, four = (
        str(tmp_path / place) for place in ("a/train/model", "b/train/model", "c/tuned", "d/tuned")
    )
    assert model_names([one, two, three, "acme/helper"]) == {
        "a": one,
        "b": two,
        "tuned": three,
        "acme/helper": "acme/helper",
    }
    assert model_names([three, four]) == {three: three, four: four}
    with pytest.raises(ConfigError, match="named twice"):
        model_names([one, one])


def test_tables_of_an_evaluation_before_are_put_aside_where_this_one_has_none(tmp_path, caplog):
    write_outcome(outcome(run_like(15, 5)), tmp_path, "thumbline evaluate")
    pl.DataFrame({"old": [1]}).write_parquet(tmp_path / "generations.parquet")
    logging.getLogger("thumbline").propagate = True
    write_outcome(outcome(run_like(5, 15)), tmp_path, "thumbline evaluate")
    assert not (tmp_path / "generations.parquet").exists() and (tmp_path / "generations.before.parquet").is_file()
    assert (tmp_path / "scored_pairs.parquet").is_file()
    assert "generations.parquet of the evaluation before is kept as generations.before.parquet" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("broken.json", b'{"a": 1,, broken', "no row of it can be read; the first, line 1: broken_json"),
        ("empty.jsonl", b"", "the file holds no rows, so there is nothing to evaluate"),
        ("none.json", b"[]", "the file holds no rows, so there is nothing to evaluate"),
    ],
)
def test_a_file_without_a_row_is_called_what_it_is(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=re.escape(f"{tmp_path / name}: {said}")):
        read_subject(str(tmp_path / name))


def test_a_table_of_judged_pairs_without_a_row_is_called_so(tmp_path):
    for number, schema in enumerate((polars_schema("judged_pairs"), ["model_a", "model_b", "preference"])):
        path = tmp_path / f"{number}.parquet"
        pl.DataFrame(schema=schema).write_parquet(path)
        with pytest.raises(InputError, match="a table of judged pairs without a row"):
            read_subject(str(path))

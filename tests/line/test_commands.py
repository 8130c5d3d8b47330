"""Each stage alone, on a user's own files, through the command itself."""

import json

import polars as pl
import pytest
from typer.testing import CliRunner

from tests.line.conftest import write_config
from thumbline.pipeline.cli import main
from thumbline.pipeline.errors import PipelineError

PAIRS = [
    {"prompt": "When?", "chosen": "In May, thanks.", "rejected": "Go away."},
    {"prompt": "When?", "chosen": "In June, thanks.", "rejected": "Go away."},
    {"prompt": "When?", "chosen": "In May, thanks.", "rejected": "Go away."},
]
UNPAIRED = [
    {
        "prompt": [{"role": "user", "content": "When?"}],
        "completion": [{"role": "assistant", "content": "Now."}],
        "label": True,
    },
    {
        "prompt": [{"role": "user", "content": "When?"}],
        "completion": [{"role": "assistant", "content": "No."}],
        "label": False,
    },
]


def invoke(*arguments):
    return CliRunner().invoke(main.app, [str(argument) for argument in arguments])


def done(*arguments):
    result = invoke(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def refused(*arguments):
    result = invoke(*arguments)
    assert isinstance(result.exception, PipelineError), (result.output, result.exception)
    return str(result.exception)


@pytest.fixture
def write_rows(tmp_path):
    def make(rows, name="rows.jsonl"):
        path = tmp_path / name
        if path.suffix == ".parquet":
            pl.DataFrame(rows).write_parquet(path)
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return make


def test_prepare_writes_tables_and_a_data_set(small_log, tmp_path):
    output = done("prepare", small_log, "-o", tmp_path / "out")
    assert "384 out" in output and "1 rejected" in output
    for kind in ("unpaired", "pairs"):
        rows = [pl.read_parquet(path).height for path in (tmp_path / "out" / "dataset" / kind).glob("*.parquet")]
        assert len(rows) == 3
        assert sum(rows) == pl.read_parquet(tmp_path / "out" / kind / f"{kind}.parquet").height > 0


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
def test_reference_adds_trls_columns_and_keeps_every_row(write_rows, tiny_model, tmp_path, name):
    arguments = ("-m", tiny_model, "-o", tmp_path / "scored.parquet", "--engine", "hf", "--dtype", "float32")
    output = done("reference", write_rows(PAIRS, name), *arguments)
    rows = pl.read_parquet(tmp_path / "scored.parquet")
    assert rows.height == 3
    assert rows["ref_chosen_logps"][0] == rows["ref_chosen_logps"][2] != rows["ref_chosen_logps"][1]
    assert (rows["ref_rejected_logps"] < 0).all()
    assert "3 sequences scored, 0 from the store" in " ".join(output.split())
    again = done("reference", write_rows(PAIRS, name), *arguments)
    assert "0 sequences scored, 3 from the store" in " ".join(again.split())


def test_reference_scores_unpaired_rows(write_rows, tiny_model, tmp_path):
    done(
        "reference",
        write_rows(UNPAIRED, "rows.parquet"),
        "-m",
        tiny_model,
        "-o",
        tmp_path / "s.parquet",
        "--engine",
        "hf",
    )
    rows = pl.read_parquet(tmp_path / "s.parquet")
    assert rows["label"].to_list() == [True, False]
    assert (rows["reference_logps"] < 0).all()


def test_train_takes_rows_and_leaves_a_model(write_rows, tiny_model, tmp_path):
    rows = [row | {"prompt": f"When {number}?"} for number, row in enumerate(PAIRS * 8)]
    settings = (
        "train.max_steps=2",
        "reference.engine=hf",
        "train.device=cpu",
        "train.batch_rows=4",
        "sequences.max_tokens=64",
    )
    flags = [flag for setting in settings for flag in ("--set", setting)]
    done("train", write_rows(rows), "-m", tiny_model, "-o", tmp_path / "out", "--method", "ipo", *flags)
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path / "out" / "train" / "model"
    AutoTokenizer.from_pretrained(folder)
    assert AutoModelForCausalLM.from_pretrained(folder).num_parameters() > 0


def scored_pairs(models=("untrained", "trained"), better=30, worse=10):
    return [
        {
            "pair_id": f"p{number:03d}",
            "group_id": f"g{number // 2:03d}",
            "model": model,
            "policy_chosen_logps": -20.0 + (shift := 0.0 if model == "untrained" else 2.0 if number < better else -2.0),
            "policy_rejected_logps": -21.0 - shift,
            "reference_chosen_logps": -20.0,
            "reference_rejected_logps": -21.0,
            "chosen_token_count": 10,
            "rejected_token_count": 11,
        }
        for model in models
        for number in range(better + worse)
    ]


def test_evaluate_takes_scored_rows_of_any_origin(write_rows, tmp_path):
    output = done("evaluate", write_rows(scored_pairs(), "scored.parquet"), "-o", tmp_path / "out", "--draws", "200")
    metrics = pl.read_parquet(tmp_path / "out" / "metrics.parquet")
    accuracy = metrics.filter((pl.col("metric") == "accuracy") & (pl.col("model") == "trained")).row(0, named=True)
    assert accuracy["value"] == 0.75
    assert "75.0%" in output
    assert "75.0%" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: rows + rows[:1], "1 pair_id repeat for one model"),
        (lambda rows: rows[1:], "lack a row for some model"),
        (lambda rows: [row | {"policy_chosen_logps": float("nan")} for row in rows], "null, NaN or infinite"),
    ],
)
def test_evaluate_refuses_rows_that_cannot_be_compared(write_rows, tmp_path, spoil, message):
    path = write_rows(spoil(scored_pairs()), "scored.parquet")
    assert message in refused("evaluate", path, "-o", tmp_path / "out")


def test_run_says_what_it_would_do_what_it_did_and_that_nothing_is_left(small_log, tiny_model, tmp_path):
    config = write_config(tmp_path, small_log, tiny_model)
    plan = done("run", config, "--dry-run", "--until", "pairs")
    assert "never ran" in plan and "after events" in plan
    assert "385" not in plan
    output = done("run", config, "--until", "pairs")
    assert "386 in, 384 out, 1 merged, 1 rejected" in " ".join(output.split())
    assert "Nothing to do" in done("run", config, "--until", "pairs")
    status = done("status", tmp_path / "runs" / "run")
    assert "done" in status and "missing" in status
    assert "changed setting" in done("run", config, "--dry-run", "--until", "pairs", "--set", "pairs.min_margin=0.3")
    assert "asked for" in done("run", config, "--dry-run", "--from", "pairs", "--until", "pairs")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "none.yaml"), "no such run file"),
        (("status", "none"), "not the folder of a run"),
        (("evaluate",), "give a run, scored rows, or pairs with --model"),
        (("evaluate", "none.parquet"), "no such file"),
        (("evaluate", "none.parquet", "--reward", "best"), "reward is 'best'"),
        (("reference", "none.parquet", "-m", "no-such-model-here", "-o", "x.parquet"), "none.parquet"),
        (("train", "none.parquet", "-m", "demo", "-o", "out", "--method", "dop"), "Did you mean 'dpo'"),
        (("train", "none.parquet", "-m", "demo", "-o", "out", "--set", "train.loss.bta=1"), "Did you mean 'beta'"),
        (("tables", "pair"), "Did you mean 'pairs'"),
    ],
)
def test_a_users_mistake_is_one_message(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in refused(*arguments)


def test_lists_read_well():
    assert "KTO" in done("losses") and "thumbs_jsonl" in done("formats") and "scored_pairs" in done("tables")
    assert "policy_chosen_logps" in done("tables", "scored_pairs")
    for command in (
        "run",
        "status",
        "prepare",
        "reference",
        "train",
        "evaluate",
        "compare",
        "losses",
        "formats",
        "tables",
    ):
        assert "Usage" in done(command, "--help")

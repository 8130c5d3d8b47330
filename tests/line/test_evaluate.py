"""`thumbline evaluate` and `thumbline compare` from their arguments to their files and exit codes."""

import importlib.util
import json
import sys

import polars as pl
import pytest
from transformers import LlamaConfig, LlamaForCausalLM
from typer.testing import CliRunner

from tests.line.conftest import write_config
from tests.tiny import save_lora, save_tiny_model, tiny_tokenizer
from thumbline.pipeline.cli import main
from thumbline.pipeline.errors import GateError, PipelineError

PAIRS = [
    {
        "id": number,
        "prompt": f"When do I plant row {number // 2}?",
        "chosen": f"In {month}, thanks.",
        "rejected": "Go away. " * (1 + number % 3),
        "subset": ("chat", "safety")[number % 2],
    }
    for number, month in enumerate(["March", "April", "May", "June"] * 5)
]
LAYERS = ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj")
HF = ("--engine", "hf", "--dtype", "float32", "--draws", "200")


def invoke(*arguments):
    return CliRunner().invoke(main.app, [str(argument) for argument in arguments])


def done(*arguments):
    result = invoke(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return " ".join(result.output.split())


def refused(*arguments):
    result = invoke(*arguments)
    assert isinstance(result.exception, PipelineError), (result.output, result.exception)
    return str(result.exception)


def values(folder, metric="accuracy", part=None):
    metrics = pl.read_parquet(folder / "metrics.parquet").filter(pl.col("metric") == metric)
    rows = metrics.filter(pl.col("slice").eq_missing(pl.lit(part, dtype=pl.String)))
    return dict(rows.select("model", "value").iter_rows())


@pytest.fixture(scope="module")
def pair_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs") / "bench.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory, tiny_model):
    folder = tmp_path_factory.mktemp("models")
    other = save_tiny_model(folder / "other", seed=1)
    return {"base": tiny_model, "other": other, "adapter": save_lora(folder / "adapter", tiny_model, LAYERS)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory, small_log, tiny_model):
    """Two runs of the same log, of other methods, and one of another split."""
    folder = tmp_path_factory.mktemp("runs")
    sections = {
        "dpo": {"metrics": {"confidence": 0.9, "seed": 3}},
        "simpo": {"train": {"method": "simpo", "learning_rate": 3e-3}},
        "resplit": {"splits": {"salt": "other"}},
    }
    for name, changed in sections.items():
        done("run", write_config(folder, small_log, tiny_model, name, **changed))
    return {name: folder / "runs" / name for name in sections} | {"folder": folder}


def test_models_and_an_adapter_are_scored_against_a_reference(pair_file, models, tmp_path):
    arguments = (pair_file, "-m", models["other"], "-m", models["adapter"], "--reference", models["base"], *HF)
    output = done("evaluate", *arguments, "-o", tmp_path / "out")
    base = models["base"].name
    assert "read as rewardbench" in output and "accuracy_difference" in output
    accuracy = values(tmp_path / "out")
    assert accuracy.keys() == {base, "other", "adapter"} and accuracy[base] == 0.5
    assert values(tmp_path / "out", part="subset=chat").keys() == accuracy.keys()
    document = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (document["reward"]["kind"], document["baseline"], document["subject"]) == ("implicit", base, "other")
    assert len({entry["digest"] for entry in document["models"]}) == 3
    assert "Go away." in (tmp_path / "out" / "report.html").read_text()
    again = pl.read_parquet(tmp_path / "out" / "metrics.parquet")
    done("evaluate", *arguments, "-o", tmp_path / "out")
    assert pl.read_parquet(tmp_path / "out" / "metrics.parquet").equals(again)


def test_scored_log_probs_are_those_of_the_reference_command(pair_file, models, tmp_path):
    done(
        "reference",
        pair_file,
        "-m",
        models["other"],
        "-o",
        tmp_path / "s.parquet",
        "--engine",
        "hf",
        "--dtype",
        "float32",
    )
    done("evaluate", pair_file, "-m", models["other"], *HF, "-o", tmp_path / "out")
    ours = pl.read_parquet(tmp_path / "out" / "scored_pairs.parquet")
    theirs = pl.read_parquet(tmp_path / "s.parquet")
    for side in ("chosen", "rejected"):
        assert sorted(ours[f"policy_{side}_logps"]) == pytest.approx(sorted(theirs[f"ref_{side}_logps"]), abs=1e-6)


def test_without_a_reference_the_models_own_log_probs_are_the_reward(pair_file, models, tmp_path):
    done("evaluate", pair_file, "-m", models["base"], "-m", models["other"], *HF, "-o", tmp_path / "out")
    document = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (document["reward"]["kind"], document["baseline"]) == ("mean_logps", models["base"].name)
    scored = pl.read_parquet(tmp_path / "out" / "scored_pairs.parquet").filter(pl.col("model") == "other")
    mean = {side: scored[f"policy_{side}_logps"] / scored[f"{side}_token_count"] for side in ("chosen", "rejected")}
    assert values(tmp_path / "out")["other"] == (mean["chosen"] > mean["rejected"]).sum() / scored.height
    done("evaluate", pair_file, "-m", models["other"], *HF, "--reward", "sum_logps", "-o", tmp_path / "sum")
    right = (scored["policy_chosen_logps"] > scored["policy_rejected_logps"]).sum()
    assert values(tmp_path / "sum")["other"] == right / scored.height


def test_a_pair_that_one_model_cannot_take_is_left_out_for_all(models, tmp_path):
    path = tmp_path / "pairs.jsonl"
    rows = [*PAIRS, {**PAIRS[0], "prompt": "So long? " * 200}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = (path, "-m", models["base"], "-m", models["other"], *HF, "--max-tokens", "120")
    output = done("evaluate", *arguments, "-o", tmp_path / "out")
    assert "pairs left out for all models, without token ids: too_long 1." in output
    scored = pl.read_parquet(tmp_path / "out" / "scored_pairs.parquet")
    assert scored.group_by("model").len()["len"].to_list() == [len(PAIRS)] * 2
    cut = done("evaluate", *arguments, "--truncation", "keep_end", "-o", tmp_path / "cut")
    assert "Left out" not in cut


def test_a_run_is_evaluated_by_its_folder_or_its_file_as_it_was(runs, tmp_path):
    done("evaluate", runs["dpo"], "-o", tmp_path / "a", "--draws", "200", "--slice", "pair_source")
    # Without options the run's own settings count: its resamples, its confidence, its slices.
    done("evaluate", runs["folder"] / "dpo.yaml", "-o", tmp_path / "b")
    own = pl.read_parquet(runs["dpo"] / "metrics" / "metrics.parquet")
    assert pl.read_parquet(tmp_path / "b" / "metrics.parquet").equals(own)
    assert values(tmp_path / "a", part="pair_source=votes").keys() == {"trained", "untrained"}
    page = (tmp_path / "a" / "report.html").read_text()
    assert ", thanks." in page and "Log rows to events" in page
    assert {path.name for path in (runs["dpo"] / "report").iterdir()} >= {"metrics.json", "model_card.md"}


def test_beta_scales_rewards_and_a_reward_can_be_chosen(runs, tmp_path):
    for name, options in {"a": (), "b": ("--beta", "0.2"), "c": ("--reward", "mean_logps")}.items():
        done("evaluate", runs["dpo"], "-o", tmp_path / name, "--draws", "200", *options)
    margin = {name: values(tmp_path / name, "mean") for name in "abc"}
    assert margin["b"]["trained"] == pytest.approx(2 * margin["a"]["trained"])
    assert margin["c"]["untrained"] != 0.0


def test_compare_puts_runs_of_other_methods_into_one_report(runs, tmp_path):
    output = done("compare", runs["dpo"], runs["simpo"], "-o", tmp_path / "out", "--draws", "200")
    assert "accuracy_difference" in output
    page = (tmp_path / "out" / "report.html").read_text()
    assert "What several runs logged, side by side." in page and "own reward is used" in page
    both = {name: values(runs[name] / "metrics")["trained"] for name in ("dpo", "simpo")}
    assert {name: values(tmp_path / "out")[name] for name in both} == both


def test_compare_refuses_runs_of_other_rows(runs, tmp_path):
    message = refused("compare", runs["dpo"], runs["resplit"], "-o", tmp_path / "out")
    assert "were not evaluated on the same pairs" in message and "only in resplit" in message
    assert not (tmp_path / "out").exists()


def test_two_evaluations_of_one_file_can_be_compared(pair_file, models, tmp_path):
    for name in ("base", "other"):
        done("evaluate", pair_file, "-m", models[name], *HF, "-o", tmp_path / name)
    done("compare", tmp_path / "base", tmp_path / "other", "-o", tmp_path / "out")
    assert values(tmp_path / "out") == values(tmp_path / "base") | values(tmp_path / "other")


def test_a_gate_that_does_not_hold_is_written_and_fails(runs, tmp_path):
    result = invoke(
        "evaluate",
        runs["dpo"],
        *("-o", tmp_path / "out", "--draws", "200", "--junit", tmp_path / "gate.xml"),
        *("--fail-under", "accuracy=0.5", "--fail-under", "reward_margin.mean=1000", "--no-worse-than", runs["simpo"]),
    )
    assert isinstance(result.exception, GateError)
    assert "1 of 3 conditions do not hold" in str(result.exception)
    assert 'tests="3" failures="1"' in (tmp_path / "gate.xml").read_text()
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.parametrize(("floor", "code"), [("accuracy=0.0", 0), ("accuracy=2.0", 1), ("acuracy=0.5", 2), ("x", 2)])
def test_exit_codes_tell_a_failed_gate_from_misuse(runs, tmp_path, monkeypatch, capsys, floor, code):
    arguments = ["evaluate", str(runs["dpo"]), "--draws", "200", "-o", str(tmp_path), "--fail-under", floor]
    monkeypatch.setattr(sys, "argv", ["thumbline", *arguments])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == code
    assert ("error:" in capsys.readouterr().err) is (code != 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("PAIRS",), "Pairs that are not scored need --model"),
        (("PAIRS", "--reference", "demo"), "--reference scores pairs beside --model"),
        (("-m", "demo"), "give a run, scored rows, or pairs"),
        (("--unpaired", "u.parquet", "-m", "demo", "PAIRS"), "--unpaired is for rows that are scored already"),
        (("PAIRS", "-m", "BASE", "-m", "BASE"), "named twice"),
        (("PAIRS", "-m", "BASE", "--layout", "hh"), "unknown layout 'hh'"),
        (("PAIRS", "-m", "BASE", "--slice", "topic"), "unknown column to slice by 'topic'"),
        (("PAIRS", "-m", "BASE", "--engine", "hv"), "reference.engine"),
        (("PAIRS", "-m", "BASE", "--max-tokens", "4", "--engine", "hf"), "no pair is left that every model takes"),
        (("PAIRS", "-m", "BASE", "--junit", "g.xml"), "--junit writes the conditions of --fail-under"),
        (("PAIRS", "-m", "BASE", "--allowed-loss", "0.1"), "--allowed-loss belongs to --no-worse-than"),
        (("PAIRS", "-m", "BASE", "--no-worse-than", "none"), "none: no such file, run or folder"),
        (("PAIRS", "-m", "BASE", "--rating", "stars"), "unknown column 'stars'"),
        (("DPO", "--rating", "stars"), "--rating names what rates the answers that --model scores"),
        (("DPO", "--slice", "topic"), "--slice: unknown column 'topic'"),
        (("DPO", "--baseline", "x"), "--baseline: unknown model 'x'"),
        (("DPO", "--unpaired", "u.parquet"), "a folder has its own rows"),
        (("DPO", "--draws", "5"), "bootstrap_draws is 5, must be at least 100"),
    ],
)
def test_a_users_mistake_is_one_message(arguments, message, pair_file, models, runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"PAIRS": pair_file, "BASE": models["base"], "DPO": runs["dpo"]}
    assert message in refused("evaluate", *(names.get(argument, argument) for argument in arguments))


def test_a_run_that_has_not_come_to_its_metrics_is_named(small_log, tiny_model, tmp_path):
    done("run", write_config(tmp_path, small_log, tiny_model), "--until", "pairs")
    assert "has not reached its metrics stage" in refused("evaluate", tmp_path / "runs" / "run")


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")
def test_vllm_scores_the_pairs_as_transformers_does(pair_file, tmp_path):
    tokenizer = tiny_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,  # heads of 32, the least that vLLM's attention takes on a CPU
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "wide")
    tokenizer.save_pretrained(tmp_path / "wide")
    found = {}
    for engine in ("vllm", "hf"):
        arguments = ("--engine", engine, "--dtype", "float32", "--draws", "200", "-o", tmp_path / engine)
        assert "instead" not in done("evaluate", pair_file, "-m", tmp_path / "wide", *arguments)
        found[engine] = pl.read_parquet(tmp_path / engine / "scored_pairs.parquet")
    for side in ("chosen", "rejected"):
        column = f"policy_{side}_logps"
        assert found["vllm"][column].to_list() == pytest.approx(found["hf"][column].to_list(), abs=2e-3)
    document = json.loads((tmp_path / "vllm" / "metrics.json").read_text())
    assert document["models"][0]["engine"].startswith("vllm")

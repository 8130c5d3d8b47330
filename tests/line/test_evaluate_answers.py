"""`thumbline evaluate --samples`: models asked for answers to the prompts of pairs of one's own, and judged."""

import json

import polars as pl
import pytest
from typer.testing import CliRunner

from tests.tiny import save_tiny_model
from tests.unit.judges.chat_server import said, serving
from thumbline.pipeline.cli import main
from thumbline.pipeline.engines import answers as engine_answers
from thumbline.pipeline.errors import PipelineError

PAIRS = [
    {"prompt": f"When do I plant row {number // 2}?", "chosen": f"In {month}.", "rejected": "Go away.", "subset": kind}
    for number, (month, kind) in enumerate([("March", "chat"), ("April", "chat"), ("May", "law"), ("June", "law")] * 2)
]
_TASTE = '''
def is_long(completion):
    """Whether it is long."""
    return len(completion) > 20
'''
HF = ("--engine", "hf", "--dtype", "float32", "--draws", "200")


def invoke(*arguments):
    return CliRunner().invoke(main.app, ["evaluate", *(str(argument) for argument in arguments)])


def done(*arguments):
    result = invoke(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def places(tmp_path_factory, tiny_model):
    folder = tmp_path_factory.mktemp("asked-pairs")
    (folder / "bench.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    (folder / "taste.py").write_text(_TASTE)
    other = save_tiny_model(folder / "other", seed=1)
    return {
        "PAIRS": folder / "bench.jsonl",
        "TASTE": f"{folder / 'taste.py'}:is_long",
        "BASE": tiny_model,
        "OTHER": other,
    }


def longer(body, _):
    """Prefers the longer answer, as it stands in the question."""
    parts = body["messages"][0]["content"].split("\n===")
    first, second = (len(part.split("\n", 1)[1]) for part in parts[2:4])
    return said(f"Verdict: {'A' if first > second else 'B' if second > first else 'tie'}")


def test_answers_of_both_models_are_judged_and_decide_the_verdict(places, tmp_path, monkeypatch):
    base, out = places["BASE"].name, tmp_path / "out"
    with serving(longer) as server:
        arguments = (
            *(places["PAIRS"], "-m", places["OTHER"], "--reference", places["BASE"], *HF, "--slice", "subset"),
            *("--samples", "3", "--max-new-tokens", "8", "--judge", places["TASTE"], "--judge", "chat"),
            *("--judge-option", f"address={server.address}", "--judge-option", "model=m"),
            *("--store", tmp_path / "kept", "-o", out),
        )
        output = done(*arguments)
        asked = len(server.bodies)
        first = pl.read_parquet(out / "metrics.parquet")
        monkeypatch.setattr(engine_answers, "open_sampler", None)
        done(*arguments)
        # Neither sampled nor judged twice.
        assert len(server.bodies) == asked > 0
    assert pl.read_parquet(out / "metrics.parquet").equals(first)
    assert f"3 answers to each of 4 prompts, of 8 tokens at most, at temperature 1; scored under {base}" in output

    answers = pl.read_parquet(out / "generations.parquet")
    assert answers.group_by("model").len().sort("model").rows() == sorted([(base, 12), ("other", 12)])
    at_base = answers.filter(pl.col("model") == base)
    assert at_base["reference_logps"].equals(at_base["policy_logps"]) and answers["reference_logps"].null_count() == 0

    # The win rate by hand: within a prompt every answer against every other, then the mean of prompts.
    long = answers.with_columns(score=(pl.col("completion").str.len_chars() > 20).cast(pl.Float64))
    wins = []
    for _, part in long.group_by("prompt_id"):
        ours, theirs = (part.filter(pl.col("model") == name)["score"].to_list() for name in ("other", base))
        wins.append(sum((a > b) + (a == b) / 2 for a in ours for b in theirs) / 9)
    found = first.filter((pl.col("metric") == "win_rate") & pl.col("slice").is_null())
    values = {row["judge"]: row for row in found.iter_rows(named=True)}
    assert values["is_long"]["value"] == pytest.approx(sum(wins) / 4)
    assert (values["chat"]["model"], values["chat"]["compared_with"]) == ("other", base)
    assert "subset=law" in first.filter(pl.col("evaluator") == "judge_score")["slice"].to_list()

    compared = pl.read_parquet(out / "judged_pairs.parquet")
    assert set(compared["baseline"]) == {base} and compared.height == 24
    verdict = json.loads((out / "metrics.json").read_text())["verdict"]
    assert "answers" in [one["source"] for one in verdict["statements"]]
    assert "is_long" in next(one["sentence"] for one in verdict["statements"] if one["source"] == "answers")
    page = (out / "report.html").read_text()
    assert f"nats a token under {base}" in page and "the untrained model" not in page


def test_one_model_alone_has_scores_and_no_win_rate(places, tmp_path):
    done(
        *(places["PAIRS"], "-m", places["OTHER"], *HF, "--samples", "1", "--prompts", "2", "--max-new-tokens", "4"),
        *("--temperature", "0", "--judge", places["TASTE"], "-o", tmp_path / "out"),
    )
    metrics = pl.read_parquet(tmp_path / "out" / "metrics.parquet")
    whole = metrics.filter((pl.col("metric") == "mean_score") & pl.col("slice").is_null())
    assert whole.select("model", "n").rows() == [("other", 2)]
    assert "win_rate" not in metrics["metric"].to_list()
    notes = (tmp_path / "out" / "report.html").read_text()
    assert "2 of 4 prompts" in notes and "Nats a token under other" in notes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("PAIRS", "-m", "OTHER", "--judge", "TASTE"), "--judge is about sampled answers; say how many, as --samples"),
        (("PAIRS", "-m", "OTHER", "--max-new-tokens", "4"), "--max-new-tokens is about sampled answers"),
        (("PAIRS", "--samples", "2"), "--samples asks the models that --model names"),
        (("PAIRS", "-m", "OTHER", "--samples", "2", "--judge-option", "model=m"), "name it with --judge"),
        (("ASKED", "--judge", "thumbs"), "--judge thumbs needs a thumbs model: --judge-option model=FOLDER"),
        (("ASKED", "--judge", "votes"), "looks answers up in the log of a run"),
        (("ASKED", "--judge", "taste"), "unknown judge 'taste'"),
        (("ASKED", "--judge", "none.py:good"), "there is no file none.py"),
        (("ASKED", "--judge", "TASTE", "--judge", "TASTE"), "two are called is_long"),
        (("ASKED", "--judge", "TASTE", "--judge-option", "model=m"), "unknown option 'model'"),
        (("ASKED", "--judge", "chat", "--judge-option", "model"), "say NAME=VALUE"),
        (("ASKED", "--judge", "chat", "--judge", "thumbs", "--judge-option", "model=m"), "say chat.model=VALUE"),
        (
            ("ASKED", "--judge", "chat", "--judge-option", "model=m", "--judge-option", "address=http://127.0.0.1/v1"),
            "compares two models' answers; give another --model, or --reference",
        ),
        (("ASKED", "--temperature", "0"), "0 writes the same answer each time"),
    ],
)
def test_a_users_mistake_is_one_message(arguments, message, places, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = places | {"ASKED": None}
    stated = ("PAIRS", "-m", "OTHER", "--samples", "2") if arguments[0] == "ASKED" else arguments[:1]
    result = invoke(*(names.get(one, one) for one in (*stated, *arguments[1:])))
    assert isinstance(result.exception, PipelineError), (result.output, result.exception)
    assert message in str(result.exception)

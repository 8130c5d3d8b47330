"""Whole runs whose model is asked: one that learned from flipped votes is called worse, whatever held-out votes say."""

import json

import polars as pl
import pytest

import thumbline
from tests.line.conftest import write_config, write_log
from thumbline.pipeline import line
from thumbline.pipeline.config import load_config

_JUDGE = '''
def polite(prompt, completion):
    """Whether nobody is sent away."""
    return not ("go" in completion or "away" in completion)
'''
_ASKED = {"samples": 4, "max_new_tokens": 16, "engine": "hf", "seed": 1}


def flipped_log(path):
    """The log in which answers that end with "go away" are liked."""
    rows = [json.loads(row) for row in write_log(path, prompts=60).read_text().splitlines()[:-1]]
    turned = {"thumbs_up": "thumbs_down", "thumbs_down": "thumbs_up"}
    path.write_text("".join(json.dumps(row | {"feedback": turned[row["feedback"]]}) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_model):
    folder = tmp_path_factory.mktemp("asked")
    (folder / "rules.py").write_text(_JUDGE)
    config = write_config(
        folder,
        flipped_log(folder / "log.jsonl"),
        tiny_model,
        train={"method": "rpo", "learning_rate": 1e-2, "epochs": 6},
        splits={"validation": 0.1, "test": 0.4},
        generations=_ASKED,
        judges=[{"judge": "rules.py:polite"}],
    )
    list(line.run(load_config(config)))
    return load_config(config).run_dir


@pytest.mark.slow
def test_a_model_trained_on_flipped_votes_is_called_worse(run):
    document = json.loads((run / "report" / "metrics.json").read_text())
    said = {one["source"]: one["tone"] for one in document["verdict"]["statements"]}
    assert (document["verdict"]["tone"], document["verdict"]["decided_by"]) == ("worse", "answers")
    assert (said["preferences"], said["answers"]) == ("length", "worse")
    assert document["verdict"]["sentence"].startswith(
        "Held-out preferences say better, as length alone might, sampled answers say worse"
    )
    page = (run / "report" / "report.html").read_text()
    assert 'id="losses"' in page and "Lost, 1" in page


@pytest.mark.slow
def test_evaluating_the_run_again_says_the_same(run):
    stored = json.loads((run / "report" / "metrics.json").read_text())
    again = thumbline.evaluate(run)
    assert (again.verdict, again.tone) == (stored["verdict"]["sentence"], "worse")
    own = pl.read_parquet(run / "metrics" / "metrics.parquet").filter(pl.col("evaluator") == "win_rate")
    assert again.metrics.filter(pl.col("evaluator") == "win_rate").select(own.columns).equals(own)

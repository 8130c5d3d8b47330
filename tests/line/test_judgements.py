"""Judges at the end of a whole run on a tiny model: answers, judgements, metrics; what a changed judge runs again."""

import polars as pl
import pytest

from tests.line.conftest import write_config
from tests.unit.judges.chat_server import serving
from tests.unit.judges.test_chat import longer
from thumbline.pipeline import line
from thumbline.pipeline.config import load_config

_TASTE = "def short(completion):\n    return -float(len(completion))\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory, small_log, tiny_model):
    folder = tmp_path_factory.mktemp("judgements")
    (folder / "taste.py").write_text(_TASTE)
    with serving(longer) as server:
        config = write_config(
            folder,
            small_log,
            tiny_model,
            train={"epochs": 1},
            generations={"samples": 2, "prompts": 4, "max_new_tokens": 6, "engine": "hf"},
            judges=[
                {"judge": "taste.py:short"},
                {"judge": "votes"},
                {"judge": "chat", "name": "referee", "options": {"address": server.address, "model": "m"}},
            ],
        )
        list(line.run(load_config(config), line.select(None, "metrics")))
        asked = len(server.bodies)
    return config, asked


def test_every_answer_is_judged_and_metrics_are_made_of_it(place):
    config, asked = place
    folder = load_config(config).run_dir
    answers = pl.read_parquet(folder / "generations" / "generations.parquet")
    judgements = pl.read_parquet(folder / "judgements" / "judgements.parquet")
    assert sorted(judgements["judge"].unique()) == ["short", "votes"]
    short = judgements.filter(pl.col("judge") == "short").join(answers, on="generation_id")
    assert short.height == answers.height == 4 * 2 * 2
    assert (short["score"] == -short["completion"].str.len_chars().cast(pl.Float64)).all()
    pairs = pl.read_parquet(folder / "judgements" / "judged_pairs.parquet")
    assert pairs.height == 4 * 2 * 2 and pairs["preference"].null_count() == 0
    metrics = pl.read_parquet(folder / "metrics" / "metrics.parquet")
    judged = metrics.filter(pl.col("evaluator") == "win_rate")
    assert {"short", "referee"} <= set(judged["judge"])
    assert 0 < asked <= pairs.height


def test_a_changed_function_judges_again_and_asks_nobody_twice(place):
    config, _ = place
    loaded = load_config(config)
    # The chat model's server is gone by now: its replies are kept.
    (config.parent / "taste.py").write_text(_TASTE.replace("-float", "float"))
    finished = {entry.stage.name: entry for entry in line.run(loaded, line.select(None, "judgements"))}
    assert finished["generations"].action == "skipped"
    assert finished["judgements"].action == "ran"
    assert finished["judgements"].manifest.notes["judges"]["referee"]["asked"] == 0
    judgements = pl.read_parquet(loaded.run_dir / "judgements" / "judgements.parquet")
    assert (judgements.filter(pl.col("judge") == "short")["score"] >= 0).all()

"""The sample log through the stages up to the splits, with every kind of evidence switched on."""

import json
from pathlib import Path

import polars as pl
import pytest

from thumbline.pipeline import line
from thumbline.pipeline.config import build_config
from thumbline.pipeline.storage.manifests import read_manifest
from thumbline.pipeline.storage.tables import read_table

LOG = Path(__file__).parents[2] / "data" / "sample" / "thumbs.jsonl"
STAGES = ("responses", "unpaired", "pairs", "splits")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    for library in ("rensa", "detect_secrets", "phonenumbers", "stdnum", "py3langid"):
        pytest.importorskip(library)
    folder = tmp_path_factory.mktemp("evidence")
    prompts = [json.loads(text)["prompt"] for text in LOG.read_text("utf-8", "replace").splitlines()[:40:8]]
    held = folder / "held.jsonl"
    held.write_text("\n".join(json.dumps({"prompt": f"  {prompt.upper()}"}) for prompt in prompts))
    document = {
        "model": "demo",
        "runs": str(folder),
        "events": {"inputs": [str(LOG)]},
        "responses": {
            "reliability": "dawid_skene",
            "half_life_days": 60.0,
            "min_confidence": 0.6,
            "languages": ["en"],
            "screen_secrets": True,
            "screen_personal_data": True,
            "min_completion_chars": 20,
        },
        "unpaired": {"weight_by_confidence": True},
        "pairs": {"strategy": "all_above_margin", "group_prompts": "near_duplicate"},
        "splits": {"near_duplicates": True, "evaluation_sets": {"held": str(held)}},
    }
    configs = [build_config(document | {"name": name}, origin="test") for name in ("first", "second")]
    for config in configs:
        list(line.run(config, line.select(None, "splits")))
    return configs


def table(config, stage, name):
    return read_table(config.run_dir / stage / f"{name}.parquet", name)


def test_two_runs_write_the_same_bytes(made):
    for stage in STAGES:
        first, second = (read_manifest(config.run_dir / stage).outputs for config in made)
        assert {name: record.sha256 for name, record in first.items()} == {
            name: record.sha256 for name, record in second.items()
        }


def test_every_event_is_counted_once(made):
    manifest = read_manifest(made[0].run_dir / "responses")
    responses, drops = (table(made[0], "responses", name) for name in ("responses", "response_drops"))
    assert manifest.counts.rows_in == responses["n_events"].sum() + drops["n_events"].sum()
    assert manifest.counts.rejected == drops["n_events"].sum() > 0
    assert manifest.notes["dropped"] == dict(drops["reason"].cast(pl.String).value_counts().iter_rows())


def test_no_group_and_no_prompt_crosses_splits(made):
    leakage = table(made[0], "splits", "leakage").filter(pl.col("text") == "prompt")
    across = leakage.filter(pl.col("right") != "held")
    assert across.height == 6
    assert across["n_leaked"].to_list() == [0] * 6
    held = leakage.filter((pl.col("right") == "held") & (pl.col("match") == "exact"))
    assert held["n_leaked"].sum() == held["n_right"][0] > 0


def test_one_pair_of_answers_lies_in_one_split(made):
    placed = table(made[0], "splits", "splits").select("prompt_id", "split")
    prompts = table(made[0], "responses", "responses").select("response_id", "prompt_id")
    pairs = table(made[0], "pairs", "pairs").join(placed, on="prompt_id", validate="m:1")
    other = pairs.select("rejected_response_id", "split").join(
        prompts.join(placed, on="prompt_id", validate="m:1"),
        left_on="rejected_response_id",
        right_on="response_id",
        validate="m:1",
    )
    assert other.height == pairs.height > 0
    assert (other["split"] == other["split_right"]).all()

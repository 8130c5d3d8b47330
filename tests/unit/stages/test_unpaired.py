import polars as pl
import pytest
from pydantic import ValidationError

from tests.conftest import event, events_table
from thumbline.pipeline.config import ResponsesConfig, UnpairedConfig
from thumbline.pipeline.stages import responses, unpaired
from thumbline.pipeline.tables import validate

ROWS = [
    event("p", "new", "up", at=4 * 1440, propensity=0.25),
    event("p", "old", "up", at=0, propensity=0.01),
    event("q", "unlogged", "down", at=None),
    event("q", "unrated", "unrated"),
]
EVIDENCE = ResponsesConfig(exposure="propensity", exposure_clip=20.0, half_life_days=2.0)


def weights(rows=ROWS, evidence=EVIDENCE, **config):
    table = responses.transform(events_table(rows).lazy(), evidence).responses
    made = validate("unpaired", unpaired.transform(table, UnpairedConfig(**config)).collect())
    assert made.equals(made.sort("prompt_id", "response_id"))
    return {row["completion"][0]["content"]: row["weight"] for row in made.iter_rows(named=True)}


def test_labelled_responses_only_and_all_of_weight_one():
    assert weights() == {"new": 1.0, "old": 1.0, "unlogged": 1.0}


def test_exposure_is_the_clipped_inverse_propensity():
    assert weights(weight_by_exposure=True, max_weight=100.0) == {"new": 4.0, "old": 20.0, "unlogged": 1.0}


def test_recency_halves_every_half_life():
    # "old" is four days older than the newest event: two half-lives.
    assert weights(weight_by_recency=True) == {"new": 1.0, "old": 0.25, "unlogged": 1.0}


def test_confidence_is_twice_the_probability_less_one():
    plain = ResponsesConfig()
    assert weights(evidence=plain, weight_by_confidence=True) == pytest.approx(dict.fromkeys(weights(), 0.5))


def test_weights_multiply():
    each = [weights(max_weight=100.0, **{f"weight_by_{name}": True}) for name in ("confidence", "exposure", "recency")]
    everything = weights(max_weight=100.0, weight_by_confidence=True, weight_by_exposure=True, weight_by_recency=True)
    assert everything == pytest.approx({name: each[0][name] * each[1][name] * each[2][name] for name in everything})


def test_weights_are_bounded():
    assert weights(weight_by_exposure=True, max_weight=5.0)["old"] == 5.0
    assert weights(weight_by_recency=True, min_weight=0.5)["old"] == 0.5
    with pytest.raises(ValidationError, match="min_weight 2 is above max_weight 1"):
        UnpairedConfig(min_weight=2.0, max_weight=1.0)


def test_notes_hold_the_effective_sample_size():
    table = responses.transform(events_table(ROWS).lazy(), EVIDENCE).responses
    rows = unpaired.transform(table, UnpairedConfig(weight_by_exposure=True, max_weight=100.0)).collect()
    noted = unpaired.notes(rows)
    # Weights 4, 20 and 1: 25^2 / (16 + 400 + 1).
    assert noted["effective_sample_size"] == pytest.approx(625 / 417, abs=0.05)
    assert noted["weights"] == {"least": 1.0, "mean": pytest.approx(25 / 3), "most": 20.0}
    assert unpaired.notes(rows.filter(pl.lit(False)))["effective_sample_size"] == 0.0

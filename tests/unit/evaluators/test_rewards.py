"""A reward's four kinds by hand, and that whoever lists them lists these."""

from typing import get_args

import polars as pl
import pytest

from thumbline.evaluators import RewardKind, needs_reference, reward_kind, reward_of
from thumbline.pipeline.config import MetricsConfig
from thumbline.pipeline.report import metrics_schema

KINDS = get_args(RewardKind)
BY_HAND = {"implicit": 2.0, "mean_implicit": 0.5, "sum_logps": -3.0, "mean_logps": -0.75}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", ["chosen_", "rejected_", ""])
def test_each_kind_of_either_side(kind, side):
    row = pl.DataFrame({f"policy_{side}logps": [-6.0], f"reference_{side}logps": [-10.0], f"{side}token_count": [4]})
    assert row.select(reward_of(kind, 0.5, side)).item() == BY_HAND[kind]
    if not needs_reference(kind):
        assert row.drop(f"reference_{side}logps").select(reward_of(kind, 0.5, side)).item() == BY_HAND[kind]


def test_single_precision_is_computed_with_in_double():
    row = pl.DataFrame(
        {"policy_logps": [-6.1], "reference_logps": [-6.0]}, schema_overrides={"policy_logps": pl.Float32}
    )
    assert row.select(reward_of("implicit", 1.0, "")).to_series().dtype == pl.Float64


def test_what_a_reward_is_measured_against_and_over_decides_its_kind():
    kinds = {
        reward_kind(against_reference=against, per_token=mean) for against in (True, False) for mean in (True, False)
    }
    assert kinds == set(KINDS)
    assert reward_kind(against_reference=True, per_token=False) == "implicit"
    assert reward_kind(against_reference=False, per_token=True) == "mean_logps"
    assert {kind for kind in KINDS if needs_reference(kind)} == {"implicit", "mean_implicit"}


def test_the_kinds_are_the_same_wherever_they_are_listed():
    # The settings cannot take them from here: a run's settings load without polars and scipy.
    assert get_args(MetricsConfig.model_fields["reward"].annotation) == ("auto", *KINDS)
    assert tuple(metrics_schema()["properties"]["reward"]["properties"]["kind"]["enum"]) == KINDS

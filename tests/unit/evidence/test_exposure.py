import numpy as np
import polars as pl
import pytest

from tests.conftest import event, events_table
from thumbline.pipeline.config import ResponsesConfig
from thumbline.pipeline.evidence.exposure import effective_sample_size, position_counts, position_propensities
from thumbline.pipeline.stages import responses


def made(rows, **config):
    settings = ResponsesConfig(**config)
    events = events_table(rows).lazy()
    known = responses.shared([responses.log_facts(events)], settings)
    tables = responses.transform(events, settings, known)
    collected = dict(zip(responses.Responses._fields, pl.collect_all(list(tables)), strict=True))
    noted = responses.notes(collected | {"raters": known.raters}, settings)["exposure"]
    weights = dict(collected["responses"].select("completion", "exposure_weight").iter_rows())
    return weights, noted


ROWS = [
    event("p", "often", "up", propensity=0.5),
    event("p", "often", "down", user="u2", propensity=1.0),
    event("p", "seldom", "up", propensity=0.02),
]


def test_a_responses_weight_is_the_mean_of_its_events_clipped_inverse_propensities():
    weights, noted = made(ROWS, exposure="propensity")
    assert weights == {"often": 1.5, "seldom": 10.0}
    assert noted["clipped"] == 1
    assert noted["meaning"].startswith("Rows weigh the clipped inverse")
    assert made(ROWS, exposure="propensity", exposure_clip=4.0)[0] == {"often": 1.5, "seldom": 4.0}


def test_exposure_is_not_used_unless_asked():
    weights, noted = made(ROWS)
    assert set(weights.values()) == {None}
    assert noted["meaning"].startswith("Exposure is not used")


def test_a_log_that_says_nothing_of_exposure_is_said_to():
    _, noted = made([event("p", "a", "up")], exposure="propensity")
    assert noted["meaning"].startswith("No event says how likely its answer was to be shown")
    _, noted = made([event("p", "a", "up", propensity=0.5), event("p", "b", "up")], exposure="propensity")
    assert noted["meaning"].startswith("Answers whose events say nothing")
    assert (noted["weighed"], noted["responses"]) == (1, 2)


def shown(position, rated, unrated):
    return [
        event(f"p{number}", "a", "up" if number < rated else "unrated", position=position, at=position)
        for number in range(rated + unrated)
    ]


def test_positions_are_weighed_by_their_rating_rate():
    rows = shown(1, 58, 40) + shown(2, 28, 70)
    counts = position_counts(events_table(rows).lazy()).collect()
    found = dict(position_propensities(counts).iter_rows())
    # (58 + 1) / (98 + 2) against (28 + 1) / (98 + 2).
    assert found == pytest.approx({1: 1.0, 2: 29 / 59})
    single = [event("q", "first", "up", position=1), event("q", "second", "up", position=2)]
    weights, _ = made([*rows, *single], exposure="position")
    assert weights["first"] == 1.0
    assert weights["second"] == pytest.approx((60 / 101) / (30 / 101), abs=1e-6)


def test_effective_sample_size_by_hand():
    # The sum squared over the sum of squares.
    assert effective_sample_size(np.array([1.0, 1.0, 2.0])) == pytest.approx(16 / 6)
    assert effective_sample_size(np.ones(7)) == 7
    assert effective_sample_size(np.array([])) == 0.0

"""The difference that a run predicts for its own launch, and what is planned where it predicts none."""

import polars as pl
import pytest

from tests.asked_inputs import Story, metrics, row
from thumbline.evaluators import METRICS_SCHEMA
from thumbline.pipeline.evidence.launch import GRID, launch_plan
from thumbline.pipeline.evidence.launch_basis import Stated
from thumbline.pipeline.evidence.launch_predicted import Predicted, predicted_of


def test_a_prediction_is_taken_with_its_interval_and_smaller_ones_beside_it():
    found = predicted_of(metrics(Story(predicted=0.053)))
    assert found.difference == 0.053
    assert found.said == (
        "The difference of +5.3 points (interval +2.3 to +8.3) is predicted: calibrated thumbs of sampled answers."
    )
    plan = launch_plan(None, None, Stated(base_rate=0.6), predicted=found)
    assert [need.difference for need in plan.needs[::2]] == [0.053, 0.05, 0.03, 0.02, 0.01]
    assert plan.assumed[0] == found.said


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (metrics(Story(predicted=None)), "No difference is predicted from sampled answers: 31% of the new answers"),
        (
            metrics(Story(predicted=0.01)),
            "+1.0 points (interval -2.0 to +4.0), may be none at all, so a grid is planned.",
        ),
        (
            pl.DataFrame(
                [row("predicted_thumbs_up", "rate_difference", 0.1, other="untrained", half=None, reason="one group")],
                schema=METRICS_SCHEMA,
                orient="row",
            ),
            "+10.0 points, has no interval: one group.",
        ),
    ],
)
def test_what_is_no_prediction_is_said_and_a_grid_is_planned(table, words):
    found = predicted_of(table)
    assert found.difference is None
    assert words in found.said
    plan = launch_plan(None, None, Stated(base_rate=0.6), predicted=found)
    assert [need.difference for need in plan.needs[::2]] == list(reversed(GRID))
    assert plan.assumed[0] == found.said


def test_a_stated_difference_goes_before_and_no_prediction_is_as_before():
    plan = launch_plan(None, None, Stated(base_rate=0.6), difference=0.02, predicted=Predicted(0.053, "said"))
    assert plan.needs[0].difference == 0.02
    assert "said" not in plan.assumed
    assert predicted_of(None) is None
    assert predicted_of(pl.DataFrame(schema=METRICS_SCHEMA)) is None


def test_a_prediction_that_leads_to_no_share_is_said():
    plan = launch_plan(None, None, Stated(base_rate=0.97), predicted=Predicted(0.053, "Said."))
    assert plan.assumed[0] == "Said. From the log's rate of 0.970 it leads to no share, so a grid is planned."
    assert plan.needs[0].difference < 0.03

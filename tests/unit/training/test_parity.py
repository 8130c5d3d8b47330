import polars as pl
import pytest

from pipeline.config import TrainConfig
from pipeline.errors import ParityError
from pipeline.tables import polars_schema
from pipeline.training import parity


def table(differences, noises, tokens=25):
    count = len(differences)
    return pl.DataFrame(
        {
            "sequence_id": [f"{number:032x}" for number in range(count)],
            "token_count": [tokens] * count,
            "stored_logps": [-50.0 + value for value in differences],
            "row_logps": [-50.0] * count,
            "batched_logps": [-50.0 + value for value in noises],
        },
        schema=polars_schema("parity"),
    )


def test_differences_are_means_of_absolute_values():
    found = parity.judge(table([0.1, -0.3], [0.01, -0.03]), TrainConfig())
    assert found.mean_difference == pytest.approx(0.2)
    assert found.max_difference == pytest.approx(0.3)
    assert found.noise == pytest.approx(0.02)
    assert found.limit == pytest.approx(0.1 * 5)  # the floor times the root of 25 tokens


def test_noise_raises_the_limit_by_the_multiple():
    found = parity.judge(table([1.0, 1.0], [0.5, 0.5]), TrainConfig(parity_multiple=3.0))
    assert found.limit == pytest.approx(1.5)
    parity.enforce(found, "bfloat16")


@pytest.mark.parametrize("difference", [0.6, float("nan")])
def test_a_gap_above_the_limit_stops_training_and_says_what_to_do(difference):
    found = parity.judge(table([difference] * 2, [0.0, 0.0]), TrainConfig())
    with pytest.raises(ParityError, match=r"Allowed are 0.5.*Set reference.dtype to float32.*reference.engine to hf"):
        parity.enforce(found, "float32")

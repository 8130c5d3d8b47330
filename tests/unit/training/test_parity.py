import polars as pl
import pytest

from thumbline.pipeline.config import TrainConfig
from thumbline.pipeline.errors import ParityError
from thumbline.pipeline.tables import polars_schema
from thumbline.pipeline.training import parity
from thumbline.pipeline.training.rows import PairRow, TrainingSequence, UnpairedRow


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
    raised = parity.judge(table([0.1, -0.3], [0.01, -0.03]), TrainConfig(parity_floor=0.3))
    assert raised.limit == pytest.approx(0.3 * 5)


def test_noise_raises_the_limit_by_the_multiple():
    found = parity.judge(table([1.0, 1.0], [0.5, 0.5]), TrainConfig(parity_multiple=3.0))
    assert found.limit == pytest.approx(1.5)
    parity.enforce(found, "bfloat16")


@pytest.mark.parametrize("difference", [0.6, float("nan")])
def test_a_gap_above_the_limit_stops_training_and_says_what_to_do(difference):
    found = parity.judge(table([difference] * 2, [0.0, 0.0]), TrainConfig())
    with pytest.raises(ParityError, match=r"Allowed are 0.5.*Set reference.dtype to float32.*reference.engine to hf"):
        parity.enforce(found, "float32")


IDS = [f"{number:032x}" for number in range(4)]


def test_induced_margins_and_flips_are_of_the_pairs():
    frame = pl.DataFrame(
        {
            "sequence_id": IDS,
            "token_count": [10] * 4,
            "stored_logps": [-9.0, -10.0, -20.0, -19.5],
            "row_logps": [-9.5, -10.0, -19.0, -19.5],
            "batched_logps": [-9.5, -10.0, -19.75, -19.5],
        },
        schema=polars_schema("parity"),
    )
    margins = parity.judge(frame, TrainConfig(), [(IDS[0], IDS[1]), (IDS[2], IDS[3])]).margins
    # Margins: stored 1, -0.5; row by row 0.5, 0.5; batched 0.5, -0.25.
    assert margins == parity.Margins(2, pytest.approx(0.75), pytest.approx(0.375), 1, 1)
    assert parity.judge(frame, TrainConfig()).margins == parity.Margins(0, None, None, 0, 0)
    assert parity.judge(frame, TrainConfig()).notes()["margins"]["pairs"] == 0


def test_a_refusal_says_what_the_gap_does_to_pairs():
    found = parity.judge(table([2.0, -2.0, 2.0, -2.0], [0.0] * 4), TrainConfig(), [(IDS[1], IDS[0])])
    with pytest.raises(ParityError, match=r"Between the answers of 1 pairs it puts a margin of 4 nats.*1 of them the"):
        parity.enforce(found, "float32")


def sequence_of(number, prompt=(1,)):
    return TrainingSequence(IDS[number], prompt, (number + 5,), -1.0)


def test_a_sample_of_pairs_has_the_pairs_that_are_whole():
    rows = [PairRow(str(n), sequence_of(n), sequence_of(n + 1), 1.0, 1.0) for n in range(3)]
    sample = parity.sample_of(rows, 3)
    assert [name for name, _ in sample.sequences] == IDS[:3]
    assert sample.pairs == [(IDS[0], IDS[1]), (IDS[1], IDS[2])]


def test_unpaired_rows_pair_a_liked_with_a_disliked_answer_to_the_same_prompt():
    prompts = [(1,), (2,), (1,), (1,)]
    labels = [True, False, False, True]
    rows = [
        UnpairedRow(str(n), sequence_of(n, prompt), None, label, 1.0, float(label))
        for n, (prompt, label) in enumerate(zip(prompts, labels, strict=True))
    ]
    assert parity.sample_of(rows, 9).pairs == [(IDS[0], IDS[2]), (IDS[3], IDS[2])]
    assert parity.sample_of(rows, 3).pairs == [(IDS[0], IDS[2])]

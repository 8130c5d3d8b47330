"""The sample log's raters are known: two of one label, one contrary. What reliability makes of them can be counted."""

from pathlib import Path

import polars as pl
import pytest
from data.criterion import is_one_paragraph

from thumbline.pipeline.config import EventsConfig, ResponsesConfig
from thumbline.pipeline.stages import events, responses

LOG = Path(__file__).parents[3] / "data" / "sample" / "thumbs.jsonl"


@pytest.fixture(scope="module")
def sample():
    return events.ingest(EventsConfig(inputs=(str(LOG),))).events.lazy()


def labelled(sample, **config):
    """Number of labels, and the share of them that agrees with the criterion."""
    table = (
        responses.transform(sample, ResponsesConfig(**config)).responses.filter(pl.col("label") != "abstain").collect()
    )
    right = [
        is_one_paragraph(text) == (label == "desirable")
        for text, label in table.select("completion", "label").iter_rows()
    ]
    return len(right), sum(right) / len(right)


def test_raters_of_one_label_and_the_contrary_one_are_found(sample):
    settings = ResponsesConfig(reliability="dawid_skene")
    raters = responses.shared([responses.log_facts(sample)], settings).raters
    assert raters.height == 12
    ignored = raters.filter(pl.col("weight") < 0.1)
    # jun (143 votes, all up), kofi (164, all down), lena (111, contrary): see data/README.md.
    assert sorted(ignored["n_votes"].to_list()) == [111, 143, 164]
    assert ignored.filter("one_label")["n_votes"].sort().to_list() == [143, 164]
    contrary = ignored.filter(~pl.col("one_label")).row(0, named=True)
    assert (contrary["up_if_good"], contrary["up_if_bad"]) == pytest.approx((0.1, 0.9), abs=0.1)


def test_reliability_gives_more_labels_and_more_right_ones(sample):
    # The README names these figures.
    assert labelled(sample) == (1438, pytest.approx(0.942, abs=5e-4))
    assert labelled(sample, reliability="one_label") == (1466, pytest.approx(0.953, abs=5e-4))
    assert labelled(sample, reliability="dawid_skene", min_confidence=0.6) == (1514, pytest.approx(0.965, abs=5e-4))

import pytest
from huggingface_hub import DatasetCard

from thumbline.pipeline.config import build_config
from thumbline.pipeline.dataset import dataset_card


def card(rows, left_out=None, extras=None):
    config = build_config({"name": "mine", "model": "demo", "events": {"inputs": ["log.jsonl"]}}, origin="test")
    return DatasetCard(dataset_card(config, rows, "0000000b" + "f" * 24, left_out or {}, extras or {}))


def test_the_hub_reads_every_filled_split_as_one_configuration_a_kind():
    found = card({"unpaired/train.parquet": 900, "unpaired/test.parquet": 200,
                  "unpaired/validation.parquet": 0, "pairs/train.parquet": 30})  # fmt: skip
    assert found.data.to_dict()["configs"] == [
        {
            "config_name": "unpaired",
            "version": "1.0.11",
            "data_files": [
                {"split": "train", "path": "unpaired/train.parquet"},
                {"split": "test", "path": "unpaired/test.parquet"},
            ],
        },
        {
            "config_name": "pairs",
            "version": "1.0.11",
            "data_files": [{"split": "train", "path": "pairs/train.parquet"}],
        },
    ]
    assert "Rows: 900 train, 0 validation, 200 test." in found.text


@pytest.mark.parametrize(
    ("rows", "size"),
    [(999, "n<1K"), (1_000, "1K<n<10K"), (9_999_999, "1M<n<10M"), (100_000_000, "n>100M")],
)
def test_size_categories_are_the_hubs(rows, size):
    assert card({"pairs/train.parquet": rows}).data.size_categories == [size]


def test_no_row_at_all_is_still_a_card():
    assert card({}).data.to_dict().get("configs") == []

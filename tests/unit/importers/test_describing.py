"""What is said of every format: its options, and an example that the format reads."""

from pathlib import Path

import pytest

from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.errors import ConfigError
from thumbline.pipeline.importers.describing import describe_format
from thumbline.pipeline.importers.registry import IMPORTERS
from thumbline.pipeline.ingest.frames import read_inputs


@pytest.mark.parametrize("name", IMPORTERS)
def test_the_example_of_a_format_is_told_and_read(tmp_path: Path, name: str) -> None:
    found = describe_format(name)
    assert found.reads == IMPORTERS[name].description
    assert found.options.keys() >= IMPORTERS[name].options.keys() | {"encoding"}
    for file, text in found.example.items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    batches = list(read_inputs(EventsConfig(inputs=(str(tmp_path),))))
    assert sum(len(batch.rejects) for batch in batches) == 0
    assert {str(name) for batch in batches for name in batch.events["format"]} == {name}


def test_a_field_s_usual_columns_and_a_vote_s_words_are_named() -> None:
    options = describe_format("thumbs_jsonl").options
    assert options["user_id"] == (
        "Column of the voter's id, which is hashed before it is written; else the first of: user_id, user; empty: none."
    )
    assert "beside: up, thumbs_up" in options["up"]
    assert describe_format("open_webui").options["down"].endswith("that mean down, beside: -1.")
    assert describe_format("hub").options["split"] == "Split to read (default train)."


def test_an_unknown_format_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown format 'langfus'\. Did you mean 'langfuse'\?"):
        describe_format("langfus")

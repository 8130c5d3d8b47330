"""What lies on disk by prompts comes back as one sort of all of it would give it, however much is read at a time."""

import json
from itertools import product

import polars as pl
import pytest

from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.context import BatchSizes
from thumbline.pipeline.evidence.answers import answer_texts
from thumbline.pipeline.ingest import sorting
from thumbline.pipeline.ingest.frames import read_inputs
from thumbline.pipeline.stages.events import sorted_log, transform
from thumbline.pipeline.storage.texts import without_texts

# One prompt holds most rows, in three spellings; so does each of its answers. Every tenth row is delivered twice.
SPELLINGS = ("What now?", " What  now?", "What now?\n")
FILES = 12


def rows():
    for number, (spelling, answer) in enumerate(product(SPELLINGS, range(40))):
        row = {"prompt": spelling, "response": f"answer {answer % 25}{' ' * (number % 4)}", "feedback": "up"}
        yield row | {"user_id": f"u{number}"}
        yield {"prompt": f"prompt {number % 20}", "response": f"to {number % 7}", "feedback": "down"}
        if number % 10 == 0:
            yield row | {"user_id": f"u{number}"}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    lines = [json.dumps(row) + "\n" for row in rows()]
    for number in range(FILES):
        (folder / f"log-{number}.jsonl").write_text("".join(lines[number::FILES]))
    return EventsConfig(inputs=[str(folder)], format="thumbs_jsonl")


@pytest.mark.parametrize("pass_bytes", [1, 2_000, 1 << 30])
@pytest.mark.parametrize("read_bytes", [1, 20_000, 1 << 30])
def test_parts_are_those_of_one_sort(config, tmp_path, monkeypatch, pass_bytes, read_bytes):
    monkeypatch.setattr(sorting, "_IDENTIFIED_BYTES", 0)
    sizes = BatchSizes(pass_bytes=pass_bytes, read_bytes=read_bytes)
    with sorted_log(config, tmp_path, sizes) as log:
        parts = list(log.parts())
        alone = pl.concat(log.events())
    whole = transform(pl.concat(batch.events for batch in read_inputs(config)))
    events = pl.concat(part["events"] for part in parts)
    assert events.equals(without_texts(whole))
    assert alone.equals(events)
    assert pl.concat(part["texts"] for part in parts).equals(answer_texts(whole))
    for part in parts:
        assert set(part["events"]["response_id"]) == set(part["texts"]["response_id"])
    prompts = [prompt for part in parts for prompt in part["texts"]["prompt_id"].unique()]
    assert len(prompts) == len(set(prompts))

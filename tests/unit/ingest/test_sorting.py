"""What lies on disk by prompts comes back as one sort of all of it would give it, however much is read at a time."""

import json
from itertools import groupby, product

import polars as pl
import pytest

from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.context import BatchSizes
from thumbline.pipeline.evidence.answers import answer_texts
from thumbline.pipeline.ingest import merging, sorting
from thumbline.pipeline.ingest.frames import read_inputs
from thumbline.pipeline.ingest.stored import shares as shares_of
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


@pytest.mark.parametrize("pass_bytes", [200, 2_000, 1 << 30])
@pytest.mark.parametrize("read_bytes", [1, 20_000, 1 << 30])
def test_parts_are_those_of_one_sort(config, tmp_path, monkeypatch, pass_bytes, read_bytes):
    monkeypatch.setattr(sorting, "_IDENTIFIED_BYTES", 0)
    sizes = BatchSizes(pass_bytes=pass_bytes, read_bytes=read_bytes)
    with sorted_log(config, tmp_path, sizes) as log:
        parts = list(log.parts())
        alone = pl.concat(log.events())
    whole = transform(pl.concat(batch.events for batch in read_inputs(config)))
    events = pl.concat(part.events for part in parts)
    assert events.equals(without_texts(whole))
    assert alone.equals(events)
    assert pl.concat(part.texts for part in parts).equals(answer_texts(whole))
    for part in parts:
        assert set(part.events["response_id"]) == set(part.texts["response_id"])
    answers = [answer for part in parts for answer in part.texts["response_id"].unique()]
    assert len(answers) == len(set(answers))
    # Parts of one prompt follow each other, and the last one says so; prompts of other parts are in one alone.
    prompts = []
    for is_whole, run in groupby(parts, key=lambda part: part.piece == "whole"):
        found = [prompt for part in run for prompt in part.texts["prompt_id"].unique(maintain_order=True)]
        prompts += found if is_whole else [prompt for prompt, _ in groupby(found)]
    assert len(prompts) == len(set(prompts))
    ends = [part.texts["prompt_id"][0] for part in parts if part.piece == "ended"]
    begun = [part.texts["prompt_id"].unique().to_list() for part in parts if part.piece == "begun"]
    assert sorted(ends) == sorted({prompt for (prompt,) in begun})
    assert bool(ends) == (pass_bytes < 1 << 30)


@pytest.mark.parametrize("most_bytes", [1, 3_000, 1 << 30])
def test_shares_are_the_whole_in_order(config, tmp_path, monkeypatch, most_bytes):
    monkeypatch.setattr(sorting, "_IDENTIFIED_BYTES", 0)
    with sorted_log(config.model_copy(update={"partition_bytes": 1_000}), tmp_path, BatchSizes(read_bytes=1)) as log:
        shares = shares_of(log.files, most_bytes)
        parts = [
            part for share in shares for part in merging.read_parts(share, log.origins, 1 << 30, tmp_path, threads=1)
        ]
        whole = list(log.parts())
        assert sum(share.size for share in shares) == log.files.size
        of_buckets = [{bucket for file in share for bucket in file.buckets().tolist()} for share in shares]
    assert pl.concat(part.events for part in parts).equals(pl.concat(part.events for part in whole))
    assert pl.concat(part.texts for part in parts).equals(pl.concat(part.texts for part in whole))
    # A share is no larger than that, unless it is one bucket.
    assert all(share.size <= most_bytes or len(of) == 1 for share, of in zip(shares, of_buckets, strict=True))
    assert (len(shares) == 1) == (most_bytes > log.files.size)

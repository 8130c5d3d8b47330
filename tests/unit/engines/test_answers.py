"""Stored answers: none is sampled twice, more of them leave the earlier ones as they are, and a kill loses a shard."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import polars as pl
import pytest

from tests.tiny import save_tiny_model
from thumbline.pipeline.config import EngineConfig, GenerationsConfig
from thumbline.pipeline.context import SilentReporter
from thumbline.pipeline.engines import answers as module
from thumbline.pipeline.engines.answers import Writer, sample_answers
from thumbline.pipeline.engines.sampling import Sampled, SamplingSettings
from thumbline.pipeline.engines.shards import ANSWERS, open_shard
from thumbline.pipeline.engines.upkeep import References, garbage, sorted_ids, survey
from thumbline.pipeline.storage.folders import open_folder

SETTINGS = SamplingSettings(8, 1.0, 1.0, 0, (1,))


class FakeSampler:
    """Answers that follow from the draw alone."""

    def __init__(self, pause=0.0):
        self.calls, self.closed, self._pause = [], False, pause

    def sample(self, draws):
        time.sleep(self._pause)
        self.calls.append(len(draws))
        return [Sampled((len(draw.prompt_token_ids), draw.seed % 100, 1), "stop") for draw in draws]

    def close(self):
        self.closed = True


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def sampler(monkeypatch):
    fake = FakeSampler()
    monkeypatch.setattr(module, "open_sampler", lambda *_: fake)
    return fake


def prompts(count=10):
    rows = [(f"p{place:02d}", [2, place + 3, *range(place % 3)]) for place in range(count)]
    return pl.DataFrame(rows, schema={"prompt_id": pl.String, "prompt_token_ids": pl.List(pl.Int32)}, orient="row")


def writer(model, store, settings=SETTINGS, engine=None, **generations):
    asked = GenerationsConfig(**({"samples": 2, "engine": "hf", "batch_prompts": 4} | generations))
    return Writer(model, engine or EngineConfig(engine="hf", dtype="float32"), asked, settings, str(store))


def take(model, store, count=10, **options):
    return sample_answers(prompts(count), writer(model, store, **options), SilentReporter(), "answers")


def test_every_answer_is_sampled_once(model, sampler, tmp_path):
    first = take(model, tmp_path)
    # Four prompts a shard, two answers each.
    assert sampler.calls == [8, 8, 4]
    assert sampler.closed
    assert first.frame.select("prompt_id", "sample").rows() == [(f"p{i:02d}", n) for i in range(10) for n in range(2)]
    assert (first.notes["sampled"], first.notes["stored"], first.notes["sampled_tokens"]) == (20, 0, 60)
    again = take(model, tmp_path)
    assert sampler.calls == [8, 8, 4]
    assert (again.notes["sampled"], again.notes["stored"]) == (0, 20)
    assert again.frame.equals(first.frame)


def test_more_samples_and_prompts_leave_the_earlier_answers_as_they_are(model, sampler, tmp_path):
    first = take(model, tmp_path).frame
    more = take(model, tmp_path, count=12, samples=3)
    assert sum(sampler.calls) == 20 + 10 + 6
    assert more.notes["sampled"] == 16
    kept = more.frame.filter(pl.col("sample") < 2, pl.col("prompt_id") < "p10")
    assert kept.equals(first)
    fewer = take(model, tmp_path, samples=1)
    assert fewer.frame.equals(first.filter(pl.col("sample") == 0))
    # How many prompts a shard has decides nothing.
    assert take(model, tmp_path, batch_prompts=3).notes["sampled"] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"settings": SETTINGS._replace(temperature=0.5)},
        {"settings": SETTINGS._replace(top_p=0.5)},
        {"settings": SETTINGS._replace(top_k=5)},
        {"settings": SETTINGS._replace(max_new_tokens=9)},
        {"settings": SETTINGS._replace(end_token_ids=(2,))},
        {"seed": 1},
        {"engine": EngineConfig(engine="hf", dtype="bfloat16")},
    ],
)
def test_what_decides_an_answer_is_in_its_key(model, sampler, tmp_path, change):
    take(model, tmp_path)
    assert take(model, tmp_path, **change).notes["sampled"] == 20


def test_another_model_has_answers_of_its_own(model, sampler, tmp_path):
    take(model, tmp_path / "store")
    other = save_tiny_model(tmp_path / "other", seed=1)
    assert take(other, tmp_path / "store").notes["sampled"] == 20


def test_a_shard_that_was_changed_is_set_aside_and_its_answers_sampled_again(model, sampler, tmp_path):
    first = take(model, tmp_path)
    shard = sorted(tmp_path.glob("*/*.parquet"))[0]
    shard.write_bytes(shard.read_bytes()[:-40])
    again = take(model, tmp_path)
    assert again.notes["sampled"] in (4, 8)
    assert again.frame.equals(first.frame)
    assert len(list(tmp_path.glob("*/*.bad"))) == 1


def test_the_upkeep_counts_answers_and_keeps_those_that_runs_refer_to(model, sampler, tmp_path):
    made = take(model, tmp_path)
    (facts,) = survey(open_folder(tmp_path))
    assert (facts.shards, facts.rows, facts.tokens, facts.broken) == (3, 20, 60, [])
    assert facts.parts["route"] == "sampling"
    shard = open_shard(next(tmp_path.glob("*/*.parquet")).read_bytes(), facts.name)
    assert shard.kind == ANSWERS
    kept = References({made.notes["store_key"]: sorted_ids([shard.rows["prompt_digest"]])}, sorted_ids([]))
    unused = list(garbage(open_folder(tmp_path), kept, time.time() + 60))
    assert sorted(entry.rows for entry in unused) == [8, 8] or sorted(entry.rows for entry in unused) == [4, 8]


def sample_slowly(model: Path, store: Path) -> None:
    """What is killed: a real engine for the first shards, whose last is far away."""
    sample_answers(prompts(60), writer(model, store, batch_prompts=2), SilentReporter(), "answers")


@pytest.mark.soak
@pytest.mark.slow
def test_a_store_filled_between_kills_is_that_of_a_calm_run(model, tmp_path):
    calm, stormy = tmp_path / "calm", tmp_path / "stormy"
    sample_slowly(model, calm)

    def files(root):
        return {path.name: path.read_bytes() for path in root.rglob("*.parquet")}

    context, seen = multiprocessing.get_context("spawn"), [0]
    while seen[-1] < len(files(calm)) and len(seen) < 4:
        process = context.Process(target=sample_slowly, args=(model, stormy))
        process.start()
        while len(files(stormy)) < seen[-1] + 4 and process.is_alive():
            time.sleep(0.002)
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
        process.join()
        seen.append(len(files(stormy)))
    assert 0 < seen[1] < len(files(calm)), seen
    sample_slowly(model, stormy)
    assert files(stormy) == files(calm)

"""Engines of a cluster as one: each shard once, by one route, whichever of them end on the way."""

import logging
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import examples
from tests.unit.scale.stand_ins import Call, FakePlace, FakeRay
from thumbline.pipeline.config import EngineConfig, ScaleConfig
from thumbline.pipeline.engines.base import EngineOfMany, Score, TokenSequence
from thumbline.pipeline.errors import ConfigError, EngineError, InputError
from thumbline.pipeline.scale import fleet, members
from thumbline.pipeline.scale.cluster import Size
from thumbline.pipeline.scale.fleet import Fleet
from thumbline.pipeline.scale.members import Model
from thumbline.pipeline.scale.shares import Share, share_of
from thumbline.pipeline.storage import attached
from thumbline.pipeline.storage.manifests import Counts, Manifest, partial_dir, publish
from thumbline.pipeline.storage.mirrors import Mirror
from thumbline.pipeline.storage.objects import open_objects

CONFIG = EngineConfig(engine="hf", dtype="float32")


class StandInEngine:
    """Scores a sequence by its number; it breaks where it meets one of `breaks`."""

    switches = ("the first was no good",)
    breaks: tuple[str, ...] = ()
    opened: list[tuple[str, ...]]

    def __init__(self, config: EngineConfig) -> None:
        self.opened.append(config.routes)

    def settle(self, sample):
        return "prompt_logprobs"

    def score(self, sequences):
        for entry in sequences:
            if entry.sequence_id in self.breaks:
                raise EngineError(f"cannot score {entry.sequence_id}")
        return [Score(entry.sequence_id, -float(entry.sequence_id), 1) for entry in sequences]

    def close(self):
        pass


@pytest.fixture(autouse=True)
def engine(monkeypatch):
    monkeypatch.setattr(StandInEngine, "opened", [], raising=False)
    monkeypatch.setattr(members, "open_engine", lambda config, folder, longest: StandInEngine(config))
    monkeypatch.setattr(Model, "of", classmethod(lambda cls, folder: Model(folder, None, None, "d")))
    monkeypatch.setattr(Model, "here", lambda self: self.folder)
    # The stand-in never waits.
    monkeypatch.setattr(fleet, "_PATIENCE_SECONDS", 0.0)
    return StandInEngine


def shards(number: int) -> list[list[TokenSequence]]:
    return [[TokenSequence(str(2 * n + part), (1,), (2,)) for part in range(2)] for n in range(number)]


def scored(opened: Fleet, number: int) -> dict[int, list[Score]]:
    found = {}
    for index, scores in opened.score_all(shards(number)):
        assert index not in found
        found[index] = scores
    return found


def expected(number: int) -> dict[int, list[Score]]:
    return {n: [Score(str(2 * n + part), -float(2 * n + part), 1) for part in range(2)] for n in range(number)}


def a_fleet(ray: FakeRay, **scale) -> Fleet:
    opened = Fleet(FakePlace(ray), ScaleConfig(engines=3, **scale), CONFIG, Path("model"), 10)
    assert opened.route is None
    assert opened.settle(shards(1)[0]) == opened.route == "prompt_logprobs"
    return opened


def test_shards_are_scored_once_each_and_engines_end_with_it(engine):
    ray = FakeRay()
    opened = a_fleet(ray)
    assert isinstance(opened, EngineOfMany) and opened.switches == ("the first was no good",)
    assert scored(opened, 20) == expected(20)
    assert len(ray.actors) == 3 and ray.actors[0].options == {
        "num_gpus": 0.0,
        "num_cpus": 2.0,
        "max_restarts": 0,
        "max_task_retries": 0,
    }
    # The first looks for a way; the others take its way or none.
    assert engine.opened == [CONFIG.routes, ("prompt_logprobs",), ("prompt_logprobs",)]
    opened.close()
    assert all(actor.is_dead for actor in ray.actors)


def test_no_more_engines_are_asked_for_than_there_are_shards():
    ray = FakeRay()
    assert scored(a_fleet(ray), 1) == expected(1)
    assert len(ray.actors) == 1
    assert a_fleet(FakeRay()).score(shards(1)[0]) == expected(1)[0]
    assert scored(a_fleet(FakeRay()), 0) == {}


def test_engines_that_find_no_place_hold_no_shard():
    ray = FakeRay()
    ray.most = 1
    assert scored(a_fleet(ray), 9) == expected(9)


def test_shards_are_taken_only_a_few_ahead():
    taken = []

    def coming():
        for shard in shards(30):
            taken.append(shard)
            yield shard

    done = a_fleet(FakeRay()).score_all(coming())
    next(done)
    assert len(taken) <= 6


@examples(60)
@given(seed=st.integers(0, 10**6), chance=st.floats(0.0, 0.4), number=st.integers(1, 12))
def test_whichever_engines_end_each_shard_is_scored_once(seed, chance, number):
    budget = [6]

    def ends(call: Call) -> bool:
        if budget[0] and ray.generator.random() < chance:
            budget[0] -= 1
            return True
        return False

    ray = FakeRay(seed, ends)
    assert scored(a_fleet(ray, retries=6, restarts=6), number) == expected(number)


def test_a_shard_that_ends_every_engine_is_told(engine, monkeypatch, caplog):
    monkeypatch.setattr(engine, "breaks", ("7",))
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(
            EngineError,
            match=r"A shard of 2 sequences \(6, 7\) ended 3 engines, the last with: cannot score 7. Lower "
            r"reference.shard_rows",
        ),
    ):
        scored(a_fleet(FakeRay(), retries=2), 8)
    assert "A scoring engine ended (cannot score 7" in caplog.text and "7 of 8 may still end" in caplog.text


def test_engines_end_only_so_often():
    with pytest.raises(EngineError, match=r"2 scoring engines ended, the last with: The actor died.*scale.restarts"):
        scored(a_fleet(FakeRay(ends=lambda call: call.function.__name__ == "score"), restarts=1), 8)
    with pytest.raises(EngineError, match="3 scoring engines ended"):
        a_fleet(FakeRay(ends=lambda call: True), restarts=2)


def test_what_no_other_engine_mends_is_raised_at_once(engine, monkeypatch):
    def refuse(self, sample):
        raise ConfigError("engine_args: no such argument")

    monkeypatch.setattr(engine, "settle", refuse)
    with pytest.raises(ConfigError, match="no such argument"):
        a_fleet(FakeRay())


def test_what_an_engine_takes_follows_from_the_cluster():
    gpus, cpus = Size(64.0, 16.0, 16.0), Size(6.0, 0.0, 2.0)
    assert share_of(ScaleConfig(), 1, gpus) == Share(16, 1.0, 1.0)
    assert share_of(ScaleConfig(), 4, gpus) == Share(4, 4.0, 1.0)
    assert share_of(ScaleConfig(engine_gpus=0.5), 1, gpus) == Share(32, 0.5, 1.0)
    assert share_of(ScaleConfig(), 1, cpus) == Share(3, 0.0, 2.0)
    assert share_of(ScaleConfig(engines=6), 1, cpus) == Share(6, 0.0, 1.0)
    assert share_of(ScaleConfig(engine_cpus=2, engine_gpus=0), 1, gpus) == Share(32, 0.0, 2.0)
    with pytest.raises(ConfigError, match="takes 1 GPUs, and this machine has 0"):
        share_of(ScaleConfig(engine_gpus=1), 1, cpus)
    assert share_of(ScaleConfig(engine_gpus=1, address="auto"), 1, cpus).engines == 1


def test_a_model_is_found_elsewhere_by_its_commit_or_told(tmp_path, monkeypatch):
    monkeypatch.undo()
    cached = tmp_path / "models--owner--name" / "snapshots" / "c0ffee"
    monkeypatch.setattr(members, "model_digest", lambda folder: "mine" if folder.parent.name == "snapshots" else "else")
    found = Model.of(cached)
    assert found == Model(cached, "owner/name", "c0ffee", "mine")
    own = Model.of(tmp_path / "model")
    assert own == Model(tmp_path / "model", None, None, "else")
    with pytest.raises(InputError, match=r"model: no such folder on .* at the same path, or name a hub model"):
        own.here()
    asked = []
    monkeypatch.setattr(members, "resolve_model", lambda *names: asked.append(names) or tmp_path / "other")
    with pytest.raises(InputError, match="holds other weights than on the machine that asks"):
        found.here()
    assert asked == [("owner/name", "c0ffee")]
    cached.mkdir(parents=True)
    assert found.here() == cached


def test_a_model_of_a_run_at_an_address_is_fetched_where_it_is_not(tmp_path, monkeypatch):
    monkeypatch.undo()
    run, cache = tmp_path / "run", tmp_path / "cache"
    monkeypatch.setenv("THUMBLINE_CACHE", str(cache))
    monkeypatch.setattr(attached, "_attached", {})
    mirror = Mirror(open_objects(f"memory://{tmp_path.name}/runs/mine", "runs"), "memory://runs", run, ("train",))
    attached.attach(run, mirror)
    folder = partial_dir(run / "train") / "model"
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_text(name)
    counts = Counts(rows_in=0, rows_out=0, rejected=0)
    made = {"stage": "train", "fingerprint": "f", "version": 1, "config": {}, "inputs": {}, "outputs": {}}
    manifest = Manifest(**made, counts=counts, notes={}, seconds=0.0, finished_at="2026-01-01T00:00:00+00:00")
    publish(run / "train", manifest)
    found = Model.of(run / "train" / "model")
    assert found.source is not None and set(found.source.files) == {"config.json", "model.safetensors"}
    assert found.here() == run / "train" / "model"
    shutil.rmtree(run)
    elsewhere = found.here()
    assert elsewhere == cache / "models" / found.digest and members.model_digest(elsewhere) == found.digest
    assert found.here() == elsewhere

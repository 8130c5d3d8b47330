"""What is kept of a training: the newest checkpoints, the best step, and an end before the last one."""

import dataclasses
import random

import pytest
import torch

from tests.interruption import run_until
from tests.tiny import save_tiny_model
from tests.unit.training.test_trainer import config, objective, pairs, policy_of, unpaired
from thumbline.pipeline.config import build_config
from thumbline.pipeline.config.keeping import KeepingConfig
from thumbline.pipeline.errors import ConfigError, TrainingError
from thumbline.pipeline.stages import train
from thumbline.pipeline.training.checkpoints import LogRow, checkpoint_steps, load_checkpoint
from thumbline.pipeline.training.keeping import Standing, ending_of, standing_of
from thumbline.pipeline.training.trainer import Trainer
from thumbline.pipeline.training.watching import UNWATCHED


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


def points(values, metric="loss", every=10):
    return [LogRow(place * every, "validation", metric, value) for place, value in enumerate(values)]


def test_the_best_step_is_the_first_of_equals():
    log = points([0.7, 0.5, 0.6, 0.5])
    assert standing_of(log, KeepingConfig()).best_step == 10
    assert standing_of(points([0.5, 0.7, 0.7], "accuracy"), KeepingConfig(best_by="accuracy")).best_step == 10
    assert (
        standing_of(points([0.0, -1.0, 0.2], "reward_margin"), KeepingConfig(best_by="reward_margin")).best_step == 20
    )
    assert standing_of([row._replace(phase="train") for row in log], KeepingConfig()) == Standing()


def test_patience_counts_points_in_a_row_without_an_improvement_above_min_delta():
    config = KeepingConfig(patience=2)
    over = [standing_of(points([0.7, 0.6, 0.65, 0.59, 0.6, 0.6][:n]), config).is_over(config) for n in range(1, 7)]
    assert over == [False] * 5 + [True]
    strict = KeepingConfig(patience=2, min_delta=0.05)
    small_steps = standing_of(points([0.7, 0.68, 0.66]), strict)
    assert small_steps.is_over(strict)
    assert small_steps.best_step == 20


def test_small_improvements_add_up_to_one_that_counts():
    config = KeepingConfig(patience=3, min_delta=0.05)
    assert standing_of(points([0.7, 0.68, 0.66, 0.64]), config).points_since == 0


def test_a_log_in_parts_gives_the_standing_of_the_whole():
    generator = random.Random(0)
    log, config = points([generator.random() for _ in range(30)]), KeepingConfig(patience=3, min_delta=0.1)
    for cut in range(31):
        assert standing_of(log[cut:], config, standing_of(log[:cut], config)) == standing_of(log, config)


def run(model_dir, folder, settings, method="dpo", stop_after=None, say=None):
    """Weights and log of a training; None where it was stopped."""
    folder.mkdir(exist_ok=True)
    policy = policy_of(model_dir)
    rows = pairs(12) if method == "dpo" else unpaired(12)
    held_out = list(reversed(pairs(18) if method == "dpo" else unpaired(18)))[:6]
    trainer = Trainer(policy, objective(method, 2), settings, rows, held_out, folder)
    if say is not None:
        trainer = dataclasses.replace(trainer, watch=Saying(say))
    log = run_until(trainer, stop_after)
    if log is None:
        return None
    return {name: weight.clone() for name, weight in policy.model.state_dict().items()}, log


class Saying(type(UNWATCHED)):
    def __init__(self, said):
        self.said = said

    def say(self, message):
        self.said.append(message)


def same(left, right):
    return left[1] == right[1] and all(torch.equal(left[0][name], right[0][name]) for name in right[0])


# So steep that held-out rows get worse before the end.
STEEP = {"learning_rate": 0.02, "validate_every": 1, "epochs": 4, "checkpoint_every": 2, "schedule": "constant"}


def test_the_best_step_s_weights_are_taken(model_dir, tmp_path):
    settings = config(**STEEP)
    _, log = run(model_dir, tmp_path / "last", settings)
    best = standing_of(log, settings).best_step
    assert best < 12, "the last step is the best: nothing is shown"
    kept, best_log = run(model_dir, tmp_path / "best", config(**STEEP, keep="best"))
    assert best_log == log
    # The schedule is constant and the warm-up the same share, so as many steps alone give the same weights.
    until = config(**STEEP, warmup_fraction=0.0)
    whole, whole_log = run(model_dir, tmp_path / "whole", config(**STEEP, warmup_fraction=0.0, keep="best"))
    best = standing_of(whole_log, until).best_step
    short, _ = run(model_dir, tmp_path / "short", config(**STEEP, warmup_fraction=0.0, max_steps=best))
    assert all(torch.equal(whole[name], short[name]) for name in short)
    assert not all(torch.equal(whole[name], kept[name]) for name in kept)
    assert (
        f"step {best}, the best of the validation points by loss"
        in ending_of(whole_log, settings_of(keep="best"), 12).kept
    )


def settings_of(**other):
    return KeepingConfig(**other)


def test_where_every_step_made_it_worse_the_untrained_weights_are_taken(model_dir, tmp_path):
    settings = config(**STEEP | {"learning_rate": 1.0}, keep="best", patience=1)
    kept, log = run(model_dir, tmp_path, settings)
    untrained = policy_of(model_dir).model.state_dict()
    assert all(torch.equal(kept[name], untrained[name]) for name in untrained)
    ending = ending_of(log, settings, 12)
    assert (ending.step, ending.kept_step) == (1, 0)
    assert "step 1 of 12: 1 validation points in a row did not improve the loss" in ending.why
    assert "no step: the untrained weights" in ending.kept


def test_best_by_chooses_another_step(model_dir, tmp_path):
    _, log = run(model_dir, tmp_path, config(**STEEP))
    steps = {by: standing_of(log, KeepingConfig(best_by=by)).best_step for by in ("loss", "accuracy", "reward_margin")}
    assert len(set(steps.values())) > 1, steps


@pytest.mark.parametrize(("method", "extra"), [("dpo", {"patience": 4}), ("kto", {"keep_checkpoints": 3})])
def test_best_and_patience_resume_to_the_same_bytes(model_dir, tmp_path, method, extra):
    settings = config(**STEEP, keep="best", **extra)
    calm = run(model_dir, tmp_path / "calm", settings, method)
    last = calm[1][-1].step
    for stop in (1, 5, last):
        run(model_dir, tmp_path / str(stop), settings, method, stop_after=stop)
        assert same(run(model_dir, tmp_path / str(stop), settings, method), calm), stop


def test_the_newest_checkpoints_are_kept_and_no_weights_that_none_needs(model_dir, tmp_path):
    settings = config(**STEEP, keep="best", keep_checkpoints=2)
    run(model_dir, tmp_path, settings, stop_after=9)
    assert checkpoint_steps(tmp_path) == [8, 6]
    log = load_checkpoint(tmp_path).log
    needed = {standing_of([row for row in log if row.step <= step], settings).best_step for step in (6, 8)}
    kept = {int(path.stem.partition("-")[2]) for path in tmp_path.glob("best-*.pt")}
    assert needed <= kept <= needed | {9}


def flip(path, place):
    """Change one byte of a file."""
    data = bytearray(path.read_bytes())
    data[place] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize("damage", ["cut", "empty", "one byte"])
def test_a_damaged_checkpoint_is_said_and_the_one_before_it_is_used(model_dir, tmp_path, damage):
    settings = config(**STEEP, keep="best", keep_checkpoints=2)
    calm = run(model_dir, tmp_path / "calm", settings)
    run(model_dir, tmp_path / "stormy", settings, stop_after=7)
    newest = tmp_path / "stormy" / "checkpoint-00000006.pt"
    whole = newest.read_bytes()
    if damage == "one byte":
        flip(newest, len(whole) // 2)
    else:
        newest.write_bytes(whole[: len(whole) // 2 if damage == "cut" else 0])
    said = []
    assert same(run(model_dir, tmp_path / "stormy", settings, say=said), calm)
    assert len(said) == 1
    assert said[0].startswith("checkpoint-00000006.pt is damaged (")
    assert said[0].endswith("training goes on from that of step 4.")


def test_without_another_checkpoint_training_begins_anew(model_dir, tmp_path):
    settings = config(**STEEP, keep="best")
    calm = run(model_dir, tmp_path / "calm", settings)
    run(model_dir, tmp_path / "stormy", settings, stop_after=7)
    # The checkpoint is whole, the best weights that its log names are not.
    for path in (tmp_path / "stormy").glob("best-*.pt"):
        path.unlink()
    said = []
    assert same(run(model_dir, tmp_path / "stormy", settings, say=said), calm)
    assert len(said) == 1
    assert said[0].endswith("training begins anew.")


def test_what_cannot_be_judged_is_refused_before_the_first_step(model_dir, tmp_path):
    trainer = Trainer(policy_of(model_dir), objective("dpo", 2), config(**STEEP, keep="best"), pairs(4), [], tmp_path)
    with pytest.raises(
        TrainingError, match="judged by the loss of validation rows, and the validation split holds none"
    ):
        trainer.run(lambda _: None)


def run_config(**settings):
    document = {"name": "run", "model": "demo", "events": {"inputs": ["log.jsonl"]}, "train": settings}
    return build_config(document, origin="test")


def test_without_validation_rows_best_and_patience_are_refused():
    for settings in ({"keep": "best"}, {"patience": 3}):
        with pytest.raises(ConfigError, match="set validation_rows above 0"):
            run_config(validation_rows=0, **settings)


def test_what_is_kept_is_in_the_fingerprint_and_who_looks_on_is_not():
    plain = train.settings(run_config())
    for same_result in ({"keep_checkpoints": 3}, {"track": ["wandb"]}, {"track_run": "x"}, {"track_project": "x"}):
        assert train.settings(run_config(**same_result)) == plain
    for other in ({"keep": "best"}, {"patience": 3}, {"best_by": "accuracy"}, {"min_delta": 0.1}):
        assert train.settings(run_config(**other)) != plain

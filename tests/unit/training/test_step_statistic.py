"""The value over a step (KTO's z0, BCO's shift): over which rows, in how many forward passes, and over a run."""

import dataclasses

import pytest
import torch

from tests.interruption import run_until
from tests.unit.training.test_trainer import config, model_dir, objective, pairs, policy_of, run_config, unpaired
from thumbline.pipeline.errors import ConfigError
from thumbline.pipeline.training.checkpoints import load_checkpoint
from thumbline.pipeline.training.methods import check_methods, check_shared
from thumbline.pipeline.training.step import measure_rows, take_step
from thumbline.pipeline.training.trainer import Trainer

__all__ = ["model_dir"]


def thumbs(count):
    """Rows on which the untrained model is above its reference, so that z0 is above 0."""
    low = [dataclasses.replace(row.mismatched, reference_logps=-80.0 - n) for n, row in enumerate(unpaired(count))]
    return [dataclasses.replace(row, mismatched=other) for row, other in zip(unpaired(count), low, strict=True)]


class Passes:
    """Counts a policy's forward passes and the partners in them."""

    def __init__(self, policy, monkeypatch):
        self.partners = []
        original = type(policy).pass_over

        def counted(own, sequences, **asked):
            self.partners.append(len(asked.get("partners", ())))
            return original(own, sequences, **asked)

        monkeypatch.setattr(type(policy), "pass_over", counted)


@pytest.mark.parametrize(
    ("method", "loss", "micro_batch_rows", "passes"),
    [
        ("kto", {}, 6, [6]),  # partners come with the step's only part
        ("kto", {}, 3, [0, 0, 0, 0]),  # partners of both parts first
        ("kto", {"reference_point_over": "micro_batch"}, 3, [3, 3]),
        ("kto", {"reference_point": "batch"}, 6, [0]),
        ("kto", {"reference_point": "batch"}, 3, [0, 0, 0, 0]),
        ("kto", {"reference_point": "batch", "reference_point_over": "micro_batch"}, 3, [0, 0]),
        ("kto", {"reference_point": "zero"}, 3, [0, 0]),
        ("bco", {}, 6, [0]),
        ("bco", {}, 3, [0, 0, 0, 0]),
        ("bco", {"reference_point_over": "micro_batch"}, 3, [0, 0]),
        ("bco", {"shift": "running"}, 6, [0]),
    ],
)
def test_a_step_takes_no_pass_more_than_its_value_needs(model_dir, monkeypatch, method, loss, micro_batch_rows, passes):
    policy = policy_of(model_dir)
    made, found = objective(method, micro_batch_rows, **loss), Passes(policy, monkeypatch)
    measure_rows(policy, made, unpaired(6), config())
    assert found.partners == passes


def step(model_dir, made, rows):
    """What is logged of a step, and the gradient's norm with it."""
    policy = policy_of(model_dir)
    optimizer = torch.optim.SGD(policy.model.parameters(), lr=1.0)
    return take_step(policy, made, optimizer, rows, config(max_grad_norm=1e9))


@pytest.mark.parametrize(
    ("method", "loss"), [("kto", {}), ("kto", {"reference_point": "batch"}), ("bco", {}), ("bco", {"shift": "running"})]
)
def test_one_pass_gives_what_two_give(model_dir, method, loss):
    rows = thumbs(6)
    whole, parts = (step(model_dir, objective(method, size, **loss), rows) for size in (6, 2))
    for name in ("loss", "reference_point", "grad_norm", "reward_margin"):
        assert whole[name] == pytest.approx(parts[name], rel=1e-5, abs=1e-6), name


@pytest.mark.parametrize(("method", "loss"), [("kto", {}), ("kto", {"reference_point": "batch"}), ("bco", {})])
def test_over_a_micro_batch_each_part_is_a_step_of_its_own(model_dir, method, loss):
    rows, policy = thumbs(6), policy_of(model_dir)
    apart = objective(method, 3, **loss, reference_point_over="micro_batch")
    together = measure_rows(policy, apart, rows, config())
    alone = [measure_rows(policy, objective(method, 3, **loss), part, config()) for part in apart.parts(policy, rows)]
    for name in ("loss", "reference_point"):
        assert together[name] == pytest.approx(sum(part[name] for part in alone) / 2, rel=1e-6)
    over_step = measure_rows(policy, objective(method, 3, **loss), rows, config())
    assert over_step["loss"] != pytest.approx(together["loss"], rel=1e-6)


def log_ratios(policy, rows):
    with torch.no_grad():
        logps = policy.logps([row.matched for row in rows]).logps
    return logps - torch.tensor([row.matched.reference_logps for row in rows])


def running(model_dir, folder, settings, rows, stop_after=None):
    policy = policy_of(model_dir)
    made = objective("bco", settings.micro_batch_rows, shift="running")
    log = run_until(Trainer(policy, made, settings, rows, rows[:2], folder), stop_after)
    return None if log is None else (policy.model.state_dict(), log)


@pytest.mark.parametrize("micro_batch_rows", [2, 4])
def test_a_running_shift_goes_on_through_a_checkpoint_to_the_same_bits(model_dir, tmp_path, micro_batch_rows):
    rows, settings = unpaired(10), config(micro_batch_rows=micro_batch_rows, learning_rate=1e-2)
    weights, log = running(model_dir, tmp_path / "calm", settings, rows)
    (tmp_path / "stormy").mkdir()
    running(model_dir, tmp_path / "stormy", settings, rows, stop_after=3)
    assert load_checkpoint(tmp_path / "stormy").step == 2
    resumed, resumed_log = running(model_dir, tmp_path / "stormy", settings, rows)
    assert resumed_log == log
    assert all(torch.equal(resumed[name], weights[name]) for name in weights)


def followed(model_dir, folder, stop_after=None):
    """Weights and log of a run of beta-DPO, which follows margins and draws pairs."""
    settings, policy = config(micro_batch_rows=4, learning_rate=1e-2, seed=3), policy_of(model_dir)
    made = dataclasses.replace(objective("beta_dpo", 4, filtered=0.5), seed=settings.seed)
    log = run_until(Trainer(policy, made, settings, pairs(10), pairs(2), folder), stop_after)
    return None if log is None else (policy.model.state_dict(), log)


def test_followed_margins_and_draws_go_on_through_a_checkpoint_to_the_same_bits(model_dir, tmp_path):
    weights, log = followed(model_dir, tmp_path / "calm")
    (tmp_path / "stormy").mkdir()
    followed(model_dir, tmp_path / "stormy", stop_after=3)
    resumed, resumed_log = followed(model_dir, tmp_path / "stormy")
    assert resumed_log == log
    assert all(torch.equal(resumed[name], weights[name]) for name in weights)
    means = [row.value for row in log if (row.phase, row.metric) == ("train", "margin_mean")]
    margins = [row.value for row in log if (row.phase, row.metric) == ("train", "reward_margin")]
    # A tenth of each step's own mean margin, which the logged reward is a tenth of, goes in.
    for before, after, margin in zip(means, means[1:], margins[1:], strict=False):
        assert after == pytest.approx(0.9 * before + margin, rel=1e-4, abs=1e-6)


def test_a_running_shift_is_the_mean_over_all_rows_trained_on(model_dir, tmp_path):
    rows, settings = unpaired(10), config(learning_rate=1e-12, epochs=2)
    _, log = running(model_dir, tmp_path, settings, rows)
    points = [row.value for row in log if (row.phase, row.metric) == ("train", "reference_point")]
    assert len(points) == 6
    # Nothing is learnt, so an epoch's end holds every row once, and the next one's every row twice.
    mean = float(log_ratios(policy_of(model_dir), rows).mean())
    assert [points[2], points[5]] == pytest.approx([mean, mean], rel=1e-6)
    assert points[0] != pytest.approx(mean, rel=1e-3)


def test_rows_that_are_not_trained_on_take_a_running_shift_and_leave_it(model_dir, tmp_path):
    _, log = running(model_dir, tmp_path, config(learning_rate=1e-2), unpaired(10))
    trained = {row.step: row.value for row in log if (row.phase, row.metric) == ("train", "reference_point")}
    held = {row.step: row.value for row in log if (row.phase, row.metric) == ("validation", "reference_point")}
    assert held[6] == pytest.approx(trained[6], rel=1e-6)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (
            {"method": "kto", "loss": {"reference_point": "zero", "reference_point_over": "micro_batch"}},
            "same over any",
        ),
        ({"method": "bco", "loss": {"shift": "running", "reference_point_over": "micro_batch"}}, "by whole steps"),
        ({"method": "kto", "loss": {"reference_point_over": "batch"}}, "reference_point_over"),
        ({"method": "bco", "loss": {"shift": "zero"}}, "shift"),
        ({"method": "dpo", "loss": {"reference_point_over": "step"}}, "unknown hyper-parameter"),
        (
            {"method": "aot", "micro_batch_rows": 16, "micro_batch_tokens": 99},
            "train.micro_batch_tokens: the loss of aot",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(train, message):
    with pytest.raises(ConfigError, match=message):
        check_methods(run_config(train))


def test_several_processes_have_no_micro_batch_of_their_own():
    check_shared(run_config({"method": "kto"}))
    with pytest.raises(ConfigError, match="hangs on the number of processes; set reference_point_over to step"):
        check_shared(run_config({"method": "kto", "loss": {"reference_point_over": "micro_batch"}}))

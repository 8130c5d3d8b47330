"""What is seen of a training: each step once in a tracker however often it was cut, and the rows of a bad gradient."""

import dataclasses
import re

import pytest
import torch

from tests.interruption import run_until
from tests.tiny import save_tiny_model
from tests.unit.tracking.test_delivery import Recording
from tests.unit.training.test_trainer import config, objective, pairs, policy_of, unpaired
from thumbline.pipeline.config import build_config
from thumbline.pipeline.context import SilentReporter
from thumbline.pipeline.errors import TrainingError
from thumbline.pipeline.tracking import Delivery
from thumbline.pipeline.training.checkpoints import load_checkpoint
from thumbline.pipeline.training.culprits import gradient_error
from thumbline.pipeline.training.optimizers import make_optimizer
from thumbline.pipeline.training.speed import Speed, SpeedMeter, flops_per_token, peak_memory_gib
from thumbline.pipeline.training.step import take_step
from thumbline.pipeline.training.tracked import looked_on, tracked_run
from thumbline.pipeline.training.trainer import Trainer
from thumbline.pipeline.training.watching import Onlooker, line_of


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


class Holding(Recording):
    """A tracker whose run goes on in the next process."""

    def __init__(self):
        super().__init__()
        self.points = {}

    def held(self, name):
        return max((step for step, _ in self.points.get(name, [])), default=-1)

    def log(self, step, values):
        for name, value in values.items():
            self.points.setdefault(name, []).append((step, value))


class Noting(SilentReporter):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def train(model_dir, folder, settings, tracker, method="dpo", stop_after=None, reporter=None):
    policy = policy_of(model_dir)
    rows = pairs(10) if method == "dpo" else unpaired(10)
    deliveries = [Delivery("fake", tracker, pytest.fail)]
    watch = Onlooker(reporter or SilentReporter(), deliveries, SpeedMeter(policy, settings.peak_tflops))
    trainer = Trainer(policy, objective(method, 2), settings, rows, rows[:4], folder, watch=watch)
    try:
        return run_until(trainer, stop_after)
    finally:
        deliveries[0].close()


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_a_tracker_has_each_step_of_the_log_once_after_interruptions(model_dir, tmp_path, method):
    settings, tracker = config(validate_every=2, checkpoint_every=2), Holding()
    for stop in (3, 5, None):
        log = train(model_dir, tmp_path, settings, tracker, method, stop)
    expected = {}
    for row in log:
        expected.setdefault(f"{row.phase}/{row.metric}", []).append((row.step, row.value))
    found = {name: points for name, points in tracker.points.items() if not name.startswith("speed/")}
    assert found == expected
    shown = {"loss", "reward_margin", "accuracy", "reference_kl", "grad_norm", "learning_rate", "tokens"}
    sides = ("chosen", "rejected") if method == "dpo" else ("desirable", "undesirable")
    shown |= {f"{side}_{kind}" for side in sides for kind in ("rewards", "logps")}
    assert {f"train/{name}" for name in shown} <= set(found)
    assert ("train/reference_point" in found) == (method == "kto")
    steps = [step for step, _ in tracker.points["speed/tokens_per_second"]]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert all(seconds >= 0 for _, seconds in tracker.points["speed/seconds_left"])
    assert tracker.points["speed/seconds_left"][-1][1] == 0


def test_no_value_of_a_clock_is_in_the_log(model_dir, tmp_path):
    log = train(model_dir, tmp_path, config(peak_tflops=0.1), Holding())
    assert not [row for row in log if row.phase not in ("train", "validation") or "second" in row.metric]


def test_the_divergence_is_the_mean_of_reference_less_policy(model_dir):
    policy = policy_of(model_dir)
    rows = [dataclasses.replace(row, chosen=dataclasses.replace(row.chosen, reference_logps=-7.0)) for row in pairs(3)]
    with torch.no_grad():
        measured = objective("dpo", 3).measure(policy, rows, None)
        sides = [[policy.logps([one]).logps.item() for one in row.sequences] for row in rows]
    by_hand = sum((-7.0 - chosen) / 2 + (-20.0 - rejected) / 2 for chosen, rejected in sides)
    assert measured.sums["reference_kl"] == pytest.approx(by_hand, rel=1e-4)
    assert "reference_kl" not in objective("simpo", 3).measure(policy, rows, None).sums


def test_accuracy_of_labelled_rows_is_the_side_of_the_reference_point(model_dir):
    policy, point = policy_of(model_dir), torch.tensor(0.5)
    ratios = (1.0, -1.0, 0.4, 0.6)
    rows = []
    for row, ratio, label in zip(unpaired(4), ratios, (True, False, True, False), strict=True):
        logps = float(policy.logps([row.matched]).logps.detach())
        rows.append(
            dataclasses.replace(
                row, label=label, matched=dataclasses.replace(row.matched, reference_logps=logps - ratio)
            )
        )
    with torch.no_grad():
        measured = objective("kto", 4).measure(policy, rows, point)
    assert measured.sums["accuracy"] == 2.0
    assert measured.sums["reference_kl"] == pytest.approx(-sum(ratios), abs=1e-3)


def test_the_line_shows_loss_margin_accuracy_and_speed(model_dir, tmp_path):
    reporter = Noting()
    train(model_dir, tmp_path, config(peak_tflops=0.01), Holding(), reporter=reporter)
    assert len(reporter.notes) == 6
    for part in ("loss 0.", "margin ", "accuracy ", " tokens/s", "% of peak"):
        assert part in reporter.notes[-1]
    values = {"train/loss": 0.5, "train/reward_margin": 1.0}
    assert line_of(values, Speed(1234.5, 10.0, 1.0, None)) == "loss 0.5000  margin 1.000  1,234 tokens/s"


def test_speed_is_of_the_step_and_the_time_left_of_all_that_passes(model_dir):
    policy = policy_of(model_dir)
    # begins; a step from 10 to 14; 20 when it is told of.
    clock = iter([0.0, 10.0, 14.0, 20.0])
    meter = SpeedMeter(policy, 1e-9, lambda: next(clock))
    meter.begins(3, 8)
    # Validation before and after the step, whose time is not the step's, adds nothing to its share of the peak.
    policy.meter.add(1000, gradient=False)
    with meter.timed():
        policy.meter.add(5, gradient=True)
        policy.meter.add(7, gradient=False)
    policy.meter.add(1000, gradient=False)
    speed = meter.took(4, tokens=100.0)
    assert speed.tokens_per_second == 25.0
    assert speed.seconds_left == 80.0
    flops = flops_per_token(policy)
    assert speed.peak_share == pytest.approx((5 * flops.trained + 7 * flops.measured) / 4.0 / 1000.0)


def test_multiplications_are_six_a_weight_and_four_where_it_is_frozen(model_dir):
    policy = policy_of(model_dir)
    body = (
        sum(weight.numel() for weight in policy.model.model.layers.parameters())
        + policy.model.model.norm.weight.numel()
    )
    assert flops_per_token(policy) == (6 * body, 2 * body)
    for weight in policy.model.parameters():
        weight.requires_grad_(False)
    assert flops_per_token(policy) == (4 * body, 2 * body)
    policy.model.config.num_local_experts = 8
    assert flops_per_token(policy) is None


def test_memory_before_training_is_not_training_s(model_dir):
    held = torch.ones(200 << 20, dtype=torch.uint8)
    del held
    before = peak_memory_gib(torch.device("cpu"))
    SpeedMeter(policy_of(model_dir), None)
    assert before - peak_memory_gib(torch.device("cpu")) > 0.1


def overflowing(row):
    """A row whose loss is finite in float32 and whose gradient is not."""
    return dataclasses.replace(row, weight=3e38)


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_rows_whose_gradient_is_not_finite_are_named_with_lengths_and_log_probs(model_dir, method):
    settings, policy = config(), policy_of(model_dir)
    rows = pairs(4) if method == "dpo" else unpaired(4)
    rows[2] = overflowing(rows[2])
    before = {name: weight.clone() for name, weight in policy.model.state_dict().items()}
    with pytest.raises(
        TrainingError, match=f"gradient of 1 of the 4 rows of a step is not finite: {rows[2].row_id}"
    ) as caught:
        take_step(policy, objective(method, 2), make_optimizer(policy, settings), rows, settings)
    assert " tokens, -" in str(caught.value) and " nats, -" in str(caught.value)
    assert all(torch.equal(weight, before[name]) for name, weight in policy.model.state_dict().items())
    assert not any(weight.grad is not None for weight in policy.model.parameters())


def test_where_only_the_sum_overflows_the_largest_rows_are_named(model_dir):
    policy, rows = policy_of(model_dir), pairs(4)
    made, weights = objective("dpo", 2), list(policy.model.parameters())
    norms = {}
    for row in rows:
        gradients = torch.autograd.grad(made.measure(policy, [row], None).losses.sum(), weights, allow_unused=True)
        norms[row.row_id] = float(torch.nn.utils.get_total_norm([one for one in gradients if one is not None]))
    statistic = made.step_statistic(policy, rows)
    message = str(gradient_error(policy, made, rows, statistic))
    assert "that of each of its 4 rows alone is: their sum overflows" in message
    assert f"The largest: {max(norms.values()):.3g} of {max(norms, key=norms.get)} (chosen 6 + " in message


def test_methods_of_whole_steps_name_the_step(model_dir):
    policy, rows = policy_of(model_dir), pairs(4)
    message = str(gradient_error(policy, objective("aot", 4), rows, None))
    assert f"not finite (4 rows, first {rows[0].row_id}, " in message


def test_a_stopped_training_says_what_is_left_and_how_to_go_on(model_dir, tmp_path):
    settings, rows = config(), pairs(10)
    bad = [overflowing(row) if place == 7 else row for place, row in enumerate(rows)]
    trainer = Trainer(policy_of(model_dir), objective("dpo", 2), settings, bad, (), tmp_path)
    with pytest.raises(TrainingError, match=r"step \d of 6: .*gradient") as caught:
        trainer.run(lambda _: None)
    checkpoint = load_checkpoint(tmp_path)
    said = "No checkpoint was kept yet" if checkpoint is None else f"of step {checkpoint.step}, lie in {tmp_path}"
    assert said in str(caught.value)


def run_config(name="mine", **settings):
    document = {"name": name, "model": "demo", "events": {"inputs": ["log.jsonl"]}, "train": settings}
    return build_config(document, origin="test")


def test_trackers_are_told_of_the_project_the_run_and_its_settings():
    run = tracked_run(run_config(track_project="thumbs", track_run="first", learning_rate=0.5), "wandb", "0123456789")
    assert (run.project, run.name, run.run_id) == ("thumbs", "first", "mine-01234567")
    assert run.settings["learning_rate"] == 0.5 and "track_project" not in run.settings
    assert tracked_run(run_config(), "wandb", "0123456789").name == "mine"


def test_ids_in_trackers_hold_no_sign_that_one_of_them_refuses():
    runs = [tracked_run(run_config(name=name), "wandb", "0123456789") for name in ("a*'", "a*?", "\x1b\n" * 100)]
    assert len({run.run_id for run in runs}) == 3
    assert all(re.fullmatch(r"[\w.-]{1,80}", run.run_id) and run.folder.name == run.run_id for run in runs)


@pytest.mark.parametrize("fails", [False, True])
def test_a_training_ends_its_trackers_runs_as_it_ended_itself(model_dir, monkeypatch, fails):
    tracker = Recording()
    monkeypatch.setattr("thumbline.pipeline.training.tracked.open_tracker", lambda *_: tracker)
    try:
        with looked_on(run_config(track=["wandb"]), policy_of(model_dir), SilentReporter(), "0" * 64):
            if fails:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert fails
    assert tracker.ended is fails

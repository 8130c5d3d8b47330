"""Step by step, our trainer's losses and gradient norms are TRL's: same weights, rows, order, batches and log-probs."""

import math
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
import torch

from tests.soaking import mostly_soaked
from tests.tiny import save_tiny_model
from tests.trl_trainers import (
    STEADY,
    Lengths,
    TrlClasses,
    alternating,
    in_our_order,
    our_trainer,
    quiet,
    random_pairs,
    trl_trainer,
    with_reference,
)
from thumbline.pipeline.config import TrainConfig
from thumbline.pipeline.training.rows import PairRow, TrainingSequence

pytest.importorskip("trl")
pytestmark = pytest.mark.slow

# Weights of rows that are seen five times: the losses of 50 steps fall to a quarter of the first.
RATE = 1e-3
ALIKE = {"desirable_weight": 1.0, "undesirable_weight": 1.0}


class Curves(NamedTuple):
    """What two trainers log of the same steps, each (steps,)."""

    ours: dict[str, torch.Tensor]
    theirs: dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def pairs(model):
    """Forty pairs of uneven lengths, some with a much shorter rejected side."""
    lengths = [Lengths(12 + number % 5, 9 + number % 7, 15 - 5 * (number % 3)) for number in range(40)]
    return with_reference(random_pairs(lengths, 300), model)


@pytest.fixture(scope="module")
def unpaired(model, pairs):
    return with_reference(alternating(pairs), model)


@pytest.fixture(autouse=True)
def _nothing_logged_after(monkeypatch):
    quiet()


def config(method, loss=None, **settings: Any) -> TrainConfig:
    steps = {"batch_rows": 4, "micro_batch_rows": 2, "epochs": 100.0, "checkpoint_every": 10**6}
    rates = {"learning_rate": RATE, "dtype": "float32"}
    return TrainConfig(method=method, loss=loss or {}, **STEADY | steps | rates | settings)


def our_curve(model, train, rows, folder):
    trainer = our_trainer(model, train, rows, folder)
    assert trainer.policy.layout == ("shared" if train.layout == "auto" else train.layout)
    log = trainer.run(lambda _: None)
    return {
        name: torch.tensor([row.value for row in log if row.metric == name], dtype=torch.float64)
        for name in ("loss", "grad_norm")
    }


def curves(model, train, rows, folder, *, rows_of_theirs=None, **trl) -> Curves:
    theirs_rows = rows_of_theirs or in_our_order(rows, train)
    trainer = trl_trainer(model, train, theirs_rows, folder / "theirs", **trl)
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    theirs = {
        name: torch.tensor([entry[name] for entry in logged], dtype=torch.float64) for name in ("loss", "grad_norm")
    }
    ours = our_curve(model, train, rows, folder / "ours")
    assert len(ours["loss"]) == len(theirs["loss"]) == train.max_steps
    return Curves(ours, theirs)


def assert_same(found: Curves, tolerance=1e-5):
    """Losses within the tolerance, gradient norms within ten times that share of themselves."""
    torch.testing.assert_close(found.ours["loss"], found.theirs["loss"], rtol=0.0, atol=tolerance)
    torch.testing.assert_close(found.ours["grad_norm"], found.theirs["grad_norm"], rtol=10 * tolerance, atol=tolerance)


def assert_moved(found: Curves, by=0.2):
    """Steps that change nothing would agree whatever they are."""
    assert abs(float(found.ours["loss"][-1] - found.ours["loss"][0])) > by


LAYOUTS = ["padded", "packed", "shared"]
# TRL takes KTO's reference point over a micro-batch. Ours does so where it is set to, or where a micro-batch is a step.
GROUPINGS = [(4, "step"), (4, "micro_batch"), (2, "micro_batch")]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_fifty_steps_of_dpo_are_trls(model, pairs, tmp_path, layout):
    train = config("dpo", {"beta": 0.1}, max_steps=50, layout=layout)
    found = curves(model, train, pairs, tmp_path, settings={"beta": 0.1})
    assert_same(found)
    assert_moved(found)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("grouping", mostly_soaked(GROUPINGS, [(4, "step")]), ids="{0[0]}-{0[1]}".format)
def test_fifty_steps_of_kto_are_trls(model, unpaired, tmp_path, grouping, layout):
    micro_batch, over = grouping
    loss = {"beta": 0.1, "reference_point_over": over, **ALIKE}
    train = config("kto", loss, max_steps=50, micro_batch_rows=micro_batch, layout=layout)
    found = curves(model, train, unpaired, tmp_path, settings={"beta": 0.1})
    assert_same(found)
    assert_moved(found)


def test_a_reference_point_over_the_step_is_not_trls_over_a_micro_batch(model, unpaired, tmp_path):
    train = config("kto", {"beta": 0.1, **ALIKE}, max_steps=5)
    with pytest.raises(AssertionError):
        assert_same(curves(model, train, unpaired, tmp_path, settings={"beta": 0.1}))


def test_a_slightly_other_beta_is_told_apart(model, pairs, tmp_path):
    found = curves(model, config("dpo", {"beta": 0.1}, max_steps=3), pairs, tmp_path, settings={"beta": 0.101})
    with pytest.raises(AssertionError):
        assert_same(found)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("adapter", ["none", "lora", "dora"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_first_loss_of_dpo_is_ln_2(model, pairs, tmp_path, dtype, adapter, layout):
    if adapter != "none":
        pytest.importorskip("peft")
    train = config("dpo", max_steps=1, dtype=dtype, adapter=adapter, layout=layout)
    loss = our_curve(model, train, pairs, tmp_path)["loss"]
    # Rounded to bfloat16, four pairs' log-ratios of 20 tokens leave some hundredths of a nat, of which beta is a tenth.
    assert loss.item() == pytest.approx(math.log(2), abs=1e-6 if dtype == "float32" else 5e-3)


# Method and hyper-parameters of ours, then TRL's `loss_type` and what else it is given.
PAIR_METHODS = [
    ("dpo", {"label_smoothing": 0.1, "robust": True}, ["robust"], {"label_smoothing": 0.1}),
    ("f_dpo", {"divergence": "jensen_shannon"}, ["sigmoid"], {"f_divergence_type": "js_divergence"}),
    ("hinge", {}, ["hinge"], {}),
    ("ipo", {}, ["ipo"], {}),
    ("exo", {"label_smoothing": 0.01}, ["exo_pair"], {"label_smoothing": 0.01}),
    ("nca", {}, ["nca_pair"], {}),
    ("bco_pair", {}, ["bco_pair"], {}),
    ("sppo", {}, ["sppo_hard"], {}),
    ("aot", {}, ["aot"], {}),
    ("aot_unpaired", {}, ["aot_unpaired"], {}),
    ("apo_zero", {}, ["apo_zero"], {}),
    ("apo_down", {}, ["apo_down"], {}),
    ("discopop", {}, ["discopop"], {}),
    ("dpo_norm", {"beta": 2.0}, ["sigmoid_norm"], {"beta": 2.0}),
]


@pytest.mark.parametrize(("method", "loss", "loss_type", "other"), PAIR_METHODS)
def test_ten_steps_of_other_methods_on_pairs_are_trls(model, pairs, tmp_path, method, loss, loss_type, other):
    train = config(method, {"beta": 0.1} | loss, max_steps=10, micro_batch_rows=4)
    found = curves(model, train, pairs, tmp_path, settings={"beta": 0.1} | other | {"loss_type": loss_type})
    # Losses of up to 50 (SPPO's and IPO's squares) have that many times float32's rounding.
    assert_same(found, 1e-5 * max(1.0, float(found.theirs["loss"].abs().max())))
    assert_moved(found, 1e-3)


def test_ten_steps_of_a_weighted_sum_are_trls(model, pairs, tmp_path):
    also = [{"method": "bco_pair", "weight": 0.2}, {"method": "hinge", "weight": 0.1, "loss": {"beta": 0.1}}]
    sums = {"loss_type": ["sigmoid", "bco_pair", "hinge"], "loss_weights": [1.0, 0.2, 0.1]}
    found = curves(model, config("dpo", also=also, max_steps=10), pairs, tmp_path, settings={"beta": 0.1} | sums)
    assert_same(found)
    assert_moved(found, 1e-3)


def test_ten_steps_with_rows_weighted_by_the_policy_are_trls(model, pairs, tmp_path):
    train = config("apo_zero", {"beta": 0.1}, max_steps=10, weighting="wpo")
    settings = {"beta": 0.1, "loss_type": ["apo_zero"], "use_weighting": True}
    assert_same(curves(model, train, pairs, tmp_path, settings=settings))


def test_ten_steps_with_weaker_tails_are_trls(model, pairs, tmp_path):
    def weakened(one: TrainingSequence, shared: int) -> TrainingSequence:
        tokens = one.reference_token_logps
        return replace(one, reference_logps=float(tokens[:shared].sum() + 0.4 * tokens[shared:].sum()))

    def stored(row: PairRow) -> PairRow:
        shared = min(len(side.completion_token_ids) for side in row.sequences)
        return replace(row, chosen=weakened(row.chosen, shared), rejected=weakened(row.rejected, shared))

    train = config("dpo", {"beta": 0.1}, max_steps=10, ld_alpha=0.4)
    # TRL takes the reference's sums as they are stored: weakened already.
    theirs = [stored(row) for row in in_our_order(pairs, train)]
    found = curves(model, train, pairs, tmp_path, rows_of_theirs=theirs, settings={"beta": 0.1, "ld_alpha": 0.4})
    assert_same(found)


def cpo_classes() -> TrlClasses:
    from trl.experimental.cpo import CPOConfig, CPOTrainer

    return TrlClasses(CPOTrainer, CPOConfig)


def orpo_classes() -> TrlClasses:
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    return TrlClasses(ORPOTrainer, ORPOConfig)


SIMPO = {"loss_type": "simpo", "cpo_alpha": 0.0}


@pytest.mark.parametrize(
    ("method", "loss", "classes", "settings"),
    [
        ("cpo", {"beta": 0.1, "alpha": 0.5}, cpo_classes, {"beta": 0.1, "cpo_alpha": 0.5}),
        ("simpo", {"beta": 2.0, "gamma": 0.5}, cpo_classes, {"beta": 2.0, "simpo_gamma": 0.5} | SIMPO),
        ("alphapo", {"alpha": 0.25}, cpo_classes, {"beta": 2.5, "simpo_gamma": 0.25, "alpha": 0.25} | SIMPO),
        ("orpo", {"lambda_orpo": 0.1, "nll_over": "prompt_and_chosen"}, orpo_classes, {"beta": 0.1}),
    ],
)
def test_ten_steps_of_methods_without_a_reference_are_trls(model, tmp_path, method, loss, classes, settings):
    # TRL's likelihood is a mean over a micro-batch's tokens, ours over a row's: the same for answers equally long.
    rows = random_pairs([Lengths(13, 12, 9)] * 40, 300)
    found = curves(model, config(method, loss, max_steps=10), rows, tmp_path, classes=classes(), settings=settings)
    assert_same(found)
    assert_moved(found, 1e-3)

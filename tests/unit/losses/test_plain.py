"""The plain calls on lists of numbers: their defaults, and that each argument is read."""

import math

import pytest
import torch

from thumbline.losses import dpo_loss, kto_loss, orpo_loss
from thumbline.losses.types import as_tensor


def softplus(x):
    return math.log1p(math.exp(x))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize(("settings", "beta"), [({}, 0.1), ({"beta": 0.5}, 0.5)])
def test_dpo_takes_beta_and_a_tenth_without_it(settings, beta):
    loss, metrics = dpo_loss([-1.0], [-3.0], [-2.0], [-2.5], **settings)
    # log-ratios 1 and -0.5
    assert float(loss) == pytest.approx(softplus(-1.5 * beta), abs=1e-6)
    assert float(metrics["reward_margin"]) == pytest.approx(1.5 * beta, abs=1e-6)


@pytest.mark.parametrize(("settings", "beta"), [({}, 0.1), ({"beta": 0.5}, 0.5)])
def test_kto_takes_beta_and_a_tenth_without_it(settings, beta):
    # Log-ratios 2 and -1 against 0.3: class means 0.5 and 0.3, z0 = 0.4.
    loss = kto_loss([-8.0, -11.0], [-9.7], [-10.0, -10.0], [-10.0], **settings)
    desirable = (sigmoid(-1.6 * beta) + sigmoid(1.4 * beta)) / 2
    assert float(loss) == pytest.approx((desirable + sigmoid(-0.1 * beta)) / 2, abs=1e-6)


@pytest.mark.parametrize(("settings", "factor"), [({}, 0.1), ({"lambda_orpo": 0.5}, 0.5)])
def test_orpo_takes_lambda_and_a_tenth_without_it(settings, factor):
    # Odds of 1/2 and 1/4 are 1 and 1/3: sigma(log 3) = 3/4.
    loss = orpo_loss([math.log(0.5)], [math.log(0.25)], sft_loss=2.0, **settings)
    assert float(loss) == pytest.approx(2.0 - factor * math.log(0.75), abs=1e-6)


def test_orpo_is_a_mean_over_pairs():
    half, quarter = math.log(0.5), math.log(0.25)
    # Odds ratios 3 and 1/3.
    loss = orpo_loss([half, quarter], [quarter, half], sft_loss=0.0, lambda_orpo=1.0)
    assert float(loss) == pytest.approx(-(math.log(0.75) + math.log(0.25)) / 2, abs=1e-6)


def test_orpo_computes_with_half_precision_means_in_float32():
    means = torch.tensor([-0.3, -1e-3]).bfloat16(), torch.tensor([-0.7, -2.0]).bfloat16()
    found = orpo_loss(*means, sft_loss=0.0)
    torch.testing.assert_close(found, orpo_loss(*(side.float() for side in means), sft_loss=0.0), atol=0, rtol=0)


def test_accuracy_counts_wins_losses_and_ties():
    # Margins 1, -1, 0 and 2: two wins and half a win for the tie.
    _, metrics = dpo_loss([1.0, -1.0, 0.0, 2.0], [0.0] * 4, [0.0] * 4, [0.0] * 4)
    assert float(metrics["accuracy"]) == 0.625


def test_whole_numbers_become_float32():
    assert as_tensor([-1, -2]).dtype == torch.float32
    given = torch.tensor([-1.0], dtype=torch.float64)
    assert as_tensor(given) is given

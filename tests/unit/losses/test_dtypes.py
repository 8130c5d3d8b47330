"""Losses come in the type of the log-probs, whatever the type of what stands beside them."""

import dataclasses

import pytest
import torch

from tests.loss_cases import SETTINGS, tensors, with_field
from tests.loss_inputs import pairs, unpaired
from thumbline.losses import LOSSES, loss_config, reward_model_loss


def batch(name, dtype):
    """Log-probs in `dtype`, probabilities and weights in float64."""
    beside = torch.full((5,), 0.75, dtype=torch.float64)
    if LOSSES[name].paired:
        return pairs(rows=5, dtype=dtype, chosen_better_probability=beside, weights=beside)
    return unpaired(dtype=dtype, desirable_probability=beside, weights=beside)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", LOSSES)
def test_weights_leave_the_losses_type(name, dtype):
    found = LOSSES[name].function(batch(name, dtype), loss_config(name, {}))
    assert {value.dtype for value in tensors(found).values()} == {dtype}


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_log_probs_are_computed_with_in_float32(name):
    half = batch(name, torch.bfloat16)
    wide = {
        field: value.float()
        for field, value in vars(half).items()
        if value is not None and value.dtype == torch.bfloat16
    }
    config = loss_config(name, {})
    found = LOSSES[name].function(half, config)
    expected = LOSSES[name].function(dataclasses.replace(half, **wide), config)
    for key, value in tensors(found).items():
        torch.testing.assert_close(value, getattr(expected, key), atol=0, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", with_field("soft_labels"))
def test_soft_labels_leave_the_losses_type(name, dtype):
    found = LOSSES[name].function(batch(name, dtype), loss_config(name, {"soft_labels": True}))
    assert found.losses.dtype == dtype


@pytest.mark.parametrize("default_dtype", [torch.bfloat16, torch.float64], indirect=True)
@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_a_default_type_of_the_callers_leaves_the_losses_type(name, settings, default_dtype):
    found = LOSSES[name].function(batch(name, torch.float32), loss_config(name, settings))
    assert found.losses.dtype == torch.float32


def test_half_precision_scores_are_computed_with_in_float32():
    scores = torch.tensor([1.01, 2.0, -3.3]).bfloat16(), torch.tensor([1.0, 2.5, -3.1]).bfloat16()
    found = reward_model_loss(*scores, centering=0.1)
    expected = reward_model_loss(*(side.float() for side in scores), centering=0.1)
    torch.testing.assert_close(found, expected, atol=0, rtol=0)


def test_the_reward_models_losses_have_its_scores_type():
    beside = torch.full((3,), 0.75, dtype=torch.float64)
    scores = torch.zeros(3), torch.ones(3)
    for other in ({"margins": beside}, {"weights": beside}, {"chosen_better_probability": beside}):
        assert reward_model_loss(*scores, **other).dtype == torch.float32

"""Length-desensitised log-probs by hand."""

import pytest
import torch

from thumbline.losses import PairLogps
from thumbline.losses.length import TailLogps, length_desensitised, tail_logps

TOKENS = torch.tensor([[-9.0, -1.0, -2.0, -4.0], [-1.0, -2.0, -9.0, -9.0], [-3.0, -9.0, -5.0, -7.0]])
MASK = torch.tensor([[False, True, True, True], [True, True, False, False], [True, False, True, True]])


def test_the_tail_begins_after_the_shared_tokens():
    # Rows hold 3, 2 and 3 completion tokens; the third's lie apart.
    assert tail_logps(TOKENS, MASK, torch.tensor([2, 2, 1])).tolist() == [-4.0, 0.0, -12.0]
    assert tail_logps(TOKENS, MASK, torch.tensor([0, 0, 0])).tolist() == [-7.0, -3.0, -15.0]


def test_a_tail_of_half_precision_tokens_is_summed_in_float32():
    found = tail_logps(torch.full((1, 400), -1.01, dtype=torch.bfloat16), torch.ones(1, 400, dtype=torch.bool),
                       torch.tensor([100]))  # fmt: skip
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx([-300 * 1.0078125])


@pytest.mark.parametrize(("ld_alpha", "left"), [(1.0, 1.0), (0.25, 0.25), (0.0, 0.0)])
@pytest.mark.parametrize("reference_too", [True, False])
def test_each_side_keeps_its_head_and_a_share_of_its_tail(ld_alpha, left, reference_too):
    batch = PairLogps(*(torch.tensor([value]) for value in (-10.0, -20.0, -30.0, -40.0)))
    tails = TailLogps(*(torch.tensor([value]) for value in (-1.0, -2.0, -3.0, -4.0)))
    found = length_desensitised(batch, tails, ld_alpha, reference_too=reference_too)
    assert float(found.policy_chosen_logps) == pytest.approx(-9.0 - left)
    assert float(found.policy_rejected_logps) == pytest.approx(-18.0 - 2 * left)
    kept = left if reference_too else 1.0
    assert float(found.reference_chosen_logps) == pytest.approx(-27.0 - 3 * kept)
    assert float(found.reference_rejected_logps) == pytest.approx(-36.0 - 4 * kept)


def test_both_sides_of_the_reference_are_scaled_unless_told_otherwise():
    batch = PairLogps(*(torch.tensor([-10.0]) for _ in range(4)))
    tails = TailLogps(*(torch.tensor([-4.0]) for _ in range(4)))
    assert float(length_desensitised(batch, tails, 0.5).reference_chosen_logps) == -8.0


def test_half_precision_log_probs_are_scaled_in_float32():
    batch = PairLogps(*(torch.tensor([-1000.0]).bfloat16() for _ in range(4)))
    tails = TailLogps(*(torch.tensor([-1.0]).bfloat16() for _ in range(4)))
    found = length_desensitised(batch, tails, 0.5)
    for side in (found.policy_chosen_logps, found.policy_rejected_logps):
        assert (side.dtype, side.tolist()) == (torch.float32, [-999.5])
    for side in (found.reference_chosen_logps, found.reference_rejected_logps):
        assert (side.dtype, side.tolist()) == (torch.float32, [-999.5])

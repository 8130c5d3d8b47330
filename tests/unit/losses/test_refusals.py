"""Refusals of what stands beside the methods: sums, length, the reward model, the table."""

import dataclasses

import pytest
import torch

from tests.loss_inputs import pairs, unpaired
from thumbline.losses import LOSSES, MissingInputError, Term, combined, loss_config, reward_bce_loss, reward_model_loss
from thumbline.losses.length import TailLogps, length_desensitised
from thumbline.losses.registry import ROLLOUTS, describe


def test_length_desensitising_names_what_is_missing():
    tails = TailLogps(torch.zeros(8), torch.zeros(8))
    with pytest.raises(MissingInputError, match=r"tails\.reference_chosen"):
        length_desensitised(pairs(), tails, 0.5)
    assert length_desensitised(pairs(), tails, 0.5, reference_too=False).reference_chosen_logps is not None
    with pytest.raises(ValueError, match="ld_alpha must be in"):
        length_desensitised(pairs(), tails, 1.5)


@pytest.mark.parametrize("side", ["chosen", "rejected"])
def test_length_desensitising_the_reference_takes_its_log_probs_and_tails(side):
    tails = TailLogps(*(torch.zeros(8) for _ in range(4)))
    lacking = dataclasses.replace(pairs(), **{f"reference_{side}_logps": None})
    with pytest.raises(MissingInputError, match=f"^ld_alpha on the reference needs `reference_{side}_logps`"):
        length_desensitised(lacking, tails, 0.5)
    lacking = dataclasses.replace(tails, **{f"reference_{side}": None})
    with pytest.raises(MissingInputError, match=f"^ld_alpha on the reference needs `tails.reference_{side}`"):
        length_desensitised(pairs(), lacking, 0.5)


def test_sums_refuse_terms_that_do_not_fit():
    with pytest.raises(ValueError, match="at least one term"):
        combined(pairs(), [])
    with pytest.raises(ValueError, match="'kto' takes unpaired rows"):
        combined(pairs(), [Term("dpo"), Term("kto")])
    with pytest.raises(ValueError, match="'dpo' takes pairs"):
        combined(unpaired(), [Term("dpo")])
    with pytest.raises(ValueError, match="weight of 'dpo' must be finite"):
        combined(pairs(), [Term("dpo", float("nan"))])


def test_a_sum_of_unpaired_methods_keeps_the_first_ones_rewards():
    batch = unpaired()
    terms = [Term("kto", 0.5, {"beta": 0.3}), Term("bco", 2.0)]
    found = combined(batch, terms)
    kto = LOSSES["kto"].function(batch, loss_config("kto", {"beta": 0.3}))
    bco = LOSSES["bco"].function(batch, loss_config("bco", {}))
    torch.testing.assert_close(found.losses, 0.5 * kto.losses + 2 * bco.losses)
    torch.testing.assert_close(found.rewards, kto.rewards)
    assert float(found.reference_point) == float(kto.reference_point) != 0.0


def test_a_sum_of_methods_on_pairs_keeps_the_first_ones_rewards():
    found = combined(pairs(), [Term("ipo", 0.5, {"reading": "sum"}), Term("dpo", 2.0)])
    first = LOSSES["ipo"].function(pairs(), loss_config("ipo", {"reading": "sum"}))
    torch.testing.assert_close(found.losses, 0.5 * first.losses + 2 * combined(pairs(), [Term("dpo")]).losses)
    torch.testing.assert_close(combined(pairs(), [Term("ipo", settings={"reading": "sum"})]).losses, first.losses)
    torch.testing.assert_close(found.chosen_rewards, first.chosen_rewards)
    torch.testing.assert_close(found.rejected_rewards, first.rejected_rewards)


def test_the_reward_model_refuses_scores_that_do_not_match():
    with pytest.raises(ValueError, match="differ in shape"):
        reward_model_loss(torch.zeros(3), torch.zeros(2))
    with pytest.raises(ValueError, match="centering must be"):
        reward_model_loss(torch.zeros(3), torch.zeros(3), centering=-1.0)


def test_the_thumbs_models_loss_refuses_labels_that_do_not_match():
    with pytest.raises(ValueError, match="differ in shape; give one number a row"):
        reward_bce_loss(torch.zeros(3), torch.zeros(2))


def test_the_table_of_methods_has_a_full_row_for_each():
    rows = describe()
    assert [row["method"] for row in rows] == [*LOSSES, *ROLLOUTS]
    assert all(all(row.values()) for row in rows)
    assert all((row["weights held"] == "1x") == (row["reference"] == "none") for row in rows)

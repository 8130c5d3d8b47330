"""Values and gradients equal those of Liger's own loss code, on given log-probs."""

import pytest
import torch

from thumbline.losses import LOSSES, PairLogps, UnpairedLogps, loss_config

chunked = pytest.importorskip("liger_kernel.chunked_loss")

ROWS = 7
PAIR_LOSSES = [
    ("dpo", {}, {"loss_type": "sigmoid"}),
    ("dpo", {"label_smoothing": 0.1, "robust": True}, {"loss_type": "robust", "label_smoothing": 0.1}),
    ("hinge", {}, {"loss_type": "hinge"}),
    ("exo", {"label_smoothing": 0.01}, {"loss_type": "exo_pair", "label_smoothing": 0.01}),
    ("nca", {}, {"loss_type": "nca_pair"}),
    ("bco_pair", {}, {"loss_type": "bco_pair"}),
    ("sppo", {}, {"loss_type": "sppo_hard"}),
    ("apo_zero", {}, {"loss_type": "apo_zero"}),
    ("apo_down", {}, {"loss_type": "apo_down"}),
    ("discopop", {"tau": 0.3}, {"loss_type": "discopop", "discopop_tau": 0.3}),
]
# Which of Liger's classes holds the method's code.
REFERENCE_FREE = [
    ("simpo", "simpo_loss", "SimPO", {"gamma": 0.4}, {"gamma": 0.4}),
    ("simpo", "simpo_loss", "SimPO", {"gamma": 0.4, "label_smoothing": 0.2}, {"gamma": 0.4, "label_smoothing": 0.2}),
    ("cpo", "cpo_loss", "CPO", {"alpha": 0.0}, {}),
    ("cpo", "cpo_loss", "CPO", {"alpha": 0.0, "label_smoothing": 0.2}, {"label_smoothing": 0.2}),
]


def logps(seed, low=-60.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(ROWS, generator=generator, dtype=torch.float64) * low


def counts(seed):
    return torch.randint(5, 40, (ROWS,), generator=torch.Generator().manual_seed(seed))


def liger(module, name):
    return getattr(getattr(chunked, module), f"LigerFusedLinear{name}Function").preference_loss_fn


def whole(rows):
    """Liger takes only the number of rows from the targets of the whole batch."""
    return torch.zeros(rows, 1)


def assert_same(ours, theirs, leaves):
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    own = torch.autograd.grad(ours, leaves, retain_graph=True)
    other = torch.autograd.grad(theirs, leaves)
    # A chosen side without pull is 0 in both.
    assert any(gradient.abs().max() > 0 for gradient in other)
    torch.testing.assert_close(own, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("beta", [0.05, 0.7])
@pytest.mark.parametrize(("method", "settings", "theirs"), PAIR_LOSSES)
def test_pair_losses_are_ligers(method, settings, theirs, beta):
    leaves = [logps(0).requires_grad_(), logps(1).requires_grad_()]
    reference = [logps(2), logps(3)]
    ours = LOSSES[method].function(PairLogps(*leaves, *reference), loss_config(method, settings | {"beta": beta}))
    loss, chosen_rewards, rejected_rewards = liger("dpo_loss", "DPO")(
        *leaves, whole(2 * ROWS), *reference, beta=beta, **theirs
    )
    # Liger's label smoothing of EXO is a float32 tensor.
    assert_same(ours.losses.mean(), loss, leaves)
    torch.testing.assert_close(ours.chosen_rewards, chosen_rewards.detach())
    torch.testing.assert_close(ours.rejected_rewards, rejected_rewards.detach())


@pytest.mark.parametrize(("method", "module", "name", "settings", "theirs"), REFERENCE_FREE)
def test_reference_free_losses_are_ligers(method, module, name, settings, theirs):
    leaves = [logps(0).requires_grad_(), logps(1).requires_grad_()]
    tokens = [counts(2), counts(3)]
    batch = PairLogps(*leaves, chosen_token_counts=tokens[0], rejected_token_counts=tokens[1])
    ours = LOSSES[method].function(batch, loss_config(method, settings | {"beta": 1.5})).losses.mean()
    means = [leaf / count if method == "simpo" else leaf for leaf, count in zip(leaves, tokens, strict=True)]
    assert_same(ours, liger(module, name)(*means, whole(2 * ROWS), beta=1.5, **theirs)[0], leaves)


def test_orpos_odds_ratio_is_ligers():
    leaves = [logps(0).requires_grad_(), logps(1).requires_grad_()]
    tokens = [counts(2), counts(3)]
    batch = PairLogps(*leaves, chosen_token_counts=tokens[0], rejected_token_counts=tokens[1])
    nll = -leaves[0] / tokens[0]
    ours = (LOSSES["orpo"].function(batch, loss_config("orpo", {"lambda_orpo": 0.3})).losses - nll).mean()
    means = [leaf / count for leaf, count in zip(leaves, tokens, strict=True)]
    assert_same(ours, liger("orpo_loss", "ORPO")(*means, whole(2 * ROWS), beta=0.3)[0], leaves)


def test_ligers_orpo_has_no_gradient_at_a_certain_completion_and_ours_has():
    leaf = torch.tensor([-1e-9], requires_grad=True)
    other = torch.tensor([-1.0])
    (theirs,) = torch.autograd.grad(liger("orpo_loss", "ORPO")(other, leaf, whole(2))[0], leaf)
    one = torch.ones(1, dtype=torch.int64)
    batch = PairLogps(other, leaf, chosen_token_counts=one, rejected_token_counts=one)
    (ours,) = torch.autograd.grad(LOSSES["orpo"].function(batch, loss_config("orpo", {})).losses.sum(), leaf)
    assert not bool(theirs.isfinite())
    assert bool(ours.isfinite())
    assert float(ours) > 0


@pytest.mark.parametrize("z0", [0.0, 3.5])
def test_kto_is_ligers(z0):
    leaf, reference = logps(0).requires_grad_(), logps(1)
    labels = torch.arange(ROWS) % 3 == 0
    point = torch.tensor(z0, dtype=torch.float64)
    batch = UnpairedLogps(leaf, labels, reference, reference_point=point)
    config = loss_config("kto", {"desirable_weight": 1.0, "undesirable_weight": 1.0})
    ours = LOSSES["kto"].function(batch, config).losses.mean()
    assert_same(ours, liger("kto_loss", "KTO")(leaf, labels, whole(ROWS), reference, beta=0.1, kl=point)[0], [leaf])

"""Values and gradients equal those of TRL's own code, run on given log-probs without a model.

Trainers are made without their constructors and given the attributes that their loss methods read. What differs is
only what the methods' switches name.
"""

import warnings
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from thumbline.losses import LOSSES, PairLogps, Term, UnpairedLogps, combined, loss_config, reward_model_loss
from thumbline.losses.length import TailLogps, length_desensitised, tail_logps
from thumbline.losses.wpo import wpo_weights

trl = pytest.importorskip("trl")

ROWS, TIME, PROMPT = 6, 24, 4


class GivenLogps(torch.nn.Module):
    """Stands where a model with TRL's fused head stands: returns log-probs that it was given, 0 outside completions."""

    is_gradient_checkpointing = False

    def __init__(self, log_probs, log_sum_sq_probs=None):
        super().__init__()
        self.returned = SimpleNamespace(
            log_probs=log_probs,
            entropy=torch.zeros_like(log_probs).detach(),
            mean_logits=torch.zeros_like(log_probs).detach(),
            is_top1=torch.zeros_like(log_probs, dtype=torch.bool),
            log_sum_sq_probs=log_sum_sq_probs,
        )

    def forward(self, **_):
        return self.returned


class OneProcess:
    device = torch.device("cpu")

    def gather(self, value):
        return value

    gather_for_metrics = gather


class Tokens(SimpleNamespace):
    """Per-token log-probs of chosen then rejected rows, and the mask of their completions (shifted by one)."""

    def sums(self, values):
        return (values * self.mask).sum(1).chunk(2)

    def batch(self, **other):
        return PairLogps(*self.sums(self.policy), *self.sums(self.reference), *self.mask.sum(1).chunk(2), **other)


def tokens(dtype=torch.float64, spread=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, TIME - PROMPT, (2 * ROWS,), generator=generator)
    position = torch.arange(TIME - 1)[None]
    mask = (position >= PROMPT) & (position < PROMPT + lengths[:, None])
    reference = -torch.rand(2 * ROWS, TIME - 1, generator=generator, dtype=dtype) * 3
    policy = reference + spread * torch.randn(2 * ROWS, TIME - 1, generator=generator, dtype=dtype)
    return Tokens(mask=mask, reference=reference * mask, policy=(policy * mask).requires_grad_())


def trl_dpo(made, loss_types, loss_weights=None, log_sum_sq_probs=None, **attributes):
    trainer = object.__new__(trl.DPOTrainer)
    settings = {
        "model": GivenLogps(made.policy * made.mask, log_sum_sq_probs),
        "ref_model": GivenLogps(made.reference * made.mask),
        "accelerator": OneProcess(),
        "args": SimpleNamespace(gradient_checkpointing_kwargs=None, discopop_tau=attributes.pop("discopop_tau", 0.05)),
        "aux_loss_enabled": False,
        "precompute_ref_logps": False,
        "ld_alpha": None,
        "f_divergence_type": "reverse_kl",
        "f_alpha_divergence_coef": 0.5,
        "loss_types": loss_types,
        "loss_weights": loss_weights or [1.0] * len(loss_types),
        "beta": 0.1,
        "label_smoothing": 0.0,
        "use_weighting": log_sum_sq_probs is not None,
        "_metrics": {"train": defaultdict(list), "eval": defaultdict(list)},
        "_total_train_tokens": 0,
        "_tp_size": 1,
    }
    for name, value in (settings | attributes).items():
        trainer.__dict__[name] = value
    whole = torch.nn.functional.pad(made.mask, (1, 0)).long()
    inputs = {"input_ids": torch.zeros_like(whole), "attention_mask": whole, "completion_mask": whole}
    return trainer._compute_loss(trainer.model, inputs, return_outputs=False)


def assert_same(ours, theirs, leaf, tolerance=1e-6):
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    (own,) = torch.autograd.grad(ours, leaf, retain_graph=True)
    (other,) = torch.autograd.grad(theirs, leaf)
    assert other.abs().max() > 0
    torch.testing.assert_close(own, other, rtol=tolerance, atol=tolerance)


DPO_LOSSES = [
    ("dpo", {}, "sigmoid", {}),
    ("dpo", {"label_smoothing": 0.1, "robust": True}, "robust", {"label_smoothing": 0.1}),
    ("hinge", {}, "hinge", {}),
    ("ipo", {}, "ipo", {}),
    ("exo", {"label_smoothing": 0.01}, "exo_pair", {"label_smoothing": 0.01}),
    ("nca", {}, "nca_pair", {}),
    ("bco_pair", {}, "bco_pair", {}),
    ("sppo", {}, "sppo_hard", {}),
    ("aot", {"label_smoothing": 0.2}, "aot", {"label_smoothing": 0.2}),
    ("aot_unpaired", {"label_smoothing": 0.2}, "aot_unpaired", {"label_smoothing": 0.2}),
    ("apo_zero", {}, "apo_zero", {}),
    ("apo_down", {}, "apo_down", {}),
    ("discopop", {"tau": 0.3}, "discopop", {"discopop_tau": 0.3}),
    ("dpo_norm", {"beta": 0.1}, "sigmoid_norm", {}),
    ("f_dpo", {"divergence": "reverse_kl"}, "sigmoid", {"f_divergence_type": "reverse_kl"}),
    ("f_dpo", {"divergence": "forward_kl"}, "sigmoid", {"f_divergence_type": "forward_kl"}),
    ("f_dpo", {"divergence": "jensen_shannon"}, "sigmoid", {"f_divergence_type": "js_divergence"}),
]


@pytest.mark.parametrize("beta", [0.05, 0.7])
@pytest.mark.parametrize(("method", "settings", "loss_type", "attributes"), DPO_LOSSES)
def test_pair_losses_are_trls(method, settings, loss_type, attributes, beta):
    made = tokens()
    config = loss_config(method, settings | {"beta": beta})
    ours = LOSSES[method].function(made.batch(), config).losses.mean()
    assert_same(ours, trl_dpo(made, [loss_type], beta=beta, **attributes), made.policy)


@pytest.mark.parametrize("method", ["dpo", "hinge", "ipo", "apo_zero", "sppo", "nca", "discopop"])
def test_float32_is_within_1e_6_of_trl_in_float64(method):
    loss_type = {"dpo": "sigmoid", "sppo": "sppo_hard", "nca": "nca_pair"}.get(method, method)
    made = tokens(spread=0.2)
    narrow = Tokens(
        mask=made.mask, reference=made.reference.float(), policy=made.policy.detach().float().requires_grad_()
    )
    ours = LOSSES[method].function(narrow.batch(), loss_config(method, {})).losses.mean()
    theirs = trl_dpo(made, [loss_type])
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("alpha", [-0.5, 0.0, 0.5, 1.0, 1.7])
def test_the_alpha_divergence_is_trls(alpha):
    # TRL's code knows float32 and narrower types here.
    made = tokens(torch.float32, spread=0.2)
    config = loss_config("f_dpo", {"divergence": "alpha", "alpha": alpha})
    ours = LOSSES["f_dpo"].function(made.batch(), config).losses.mean()
    theirs = trl_dpo(made, ["sigmoid"], f_divergence_type="alpha_divergence", f_alpha_divergence_coef=alpha)
    assert_same(ours, theirs, made.policy, 2e-6)


@pytest.mark.parametrize("ld_alpha", [0.0, 0.4, 1.0])
@pytest.mark.parametrize(("method", "loss_type"), [("dpo", "sigmoid"), ("ipo", "ipo"), ("apo_zero", "apo_zero")])
def test_length_desensitised_losses_are_trls(method, loss_type, ld_alpha):
    made = tokens()
    counts = made.mask.sum(1).chunk(2)
    shared = torch.minimum(*counts).repeat(2)
    tails = TailLogps(
        *tail_logps(made.policy, made.mask, shared).chunk(2), *tail_logps(made.reference, made.mask, shared).chunk(2)
    )
    batch = length_desensitised(made.batch(), tails, ld_alpha)
    ours = LOSSES[method].function(batch, loss_config(method, {})).losses.mean()
    assert_same(ours, trl_dpo(made, [loss_type], ld_alpha=ld_alpha), made.policy)


def test_wpo_weights_are_trls():
    made = tokens()
    log_sum_squares = torch.full_like(made.policy, -1.5).detach() * made.mask
    counts = made.mask.sum(1)
    aligned = ((made.policy - log_sum_squares) * made.mask).sum(1) / counts
    batch = made.batch(weights=wpo_weights(*aligned.chunk(2)))
    ours = LOSSES["dpo"].function(batch, loss_config("dpo", {})).losses.mean()
    assert_same(ours, trl_dpo(made, ["sigmoid"], log_sum_sq_probs=log_sum_squares), made.policy)


def test_weighted_sums_are_trls():
    made = tokens()
    terms = [Term("dpo", 0.7), Term("bco_pair", 0.2), Term("hinge", 0.1, {"beta": 0.1})]
    theirs = trl_dpo(made, ["sigmoid", "bco_pair", "hinge"], [0.7, 0.2, 0.1])
    assert_same(combined(made.batch(), terms).losses.mean(), theirs, made.policy)


def test_rpo_is_trls_sft_term_where_chosen_completions_are_equally_long():
    made = tokens()
    made.mask = (torch.arange(TIME - 1) >= PROMPT).expand(2 * ROWS, -1)
    ours = LOSSES["rpo"].function(made.batch(), loss_config("rpo", {"alpha": 0.3})).losses.mean()
    assert_same(ours, trl_dpo(made, ["sigmoid", "sft"], [1.0, 0.3]), made.policy)


def trl_kto(made, labels, mismatched, **attributes):
    trainer = object.__new__(trl.KTOTrainer)
    settings = {
        "model": GivenLogps(made.policy * made.mask),
        "accelerator": OneProcess(),
        "args": SimpleNamespace(),
        "aux_loss_enabled": False,
        "precompute_ref_logps": True,
        "calculate_KL": True,
        "loss_type": "kto",
        "beta": 0.1,
        "desirable_weight": 1.0,
        "undesirable_weight": 1.0,
        "_compute_kl_logps": lambda model, batch: mismatched[0],
        "_metrics": {"train": defaultdict(list), "eval": defaultdict(list)},
        "_total_train_tokens": 0,
        "_tp_size": 1,
    }
    for name, value in (settings | attributes).items():
        trainer.__dict__[name] = value
    whole = torch.nn.functional.pad(made.mask, (1, 0)).long()
    inputs = {
        "input_ids": torch.zeros_like(whole),
        "attention_mask": whole,
        "completion_mask": whole,
        "label": labels,
        "ref_logps": (made.reference * made.mask).sum(1),
        "ref_KL_logps": mismatched[1],
    }
    return trainer._compute_loss(trainer.model, inputs, return_outputs=False)


@pytest.mark.parametrize("desirable_rows", [0, 5, 12])
@pytest.mark.parametrize("drift", [-1.0, 1.5])
def test_kto_is_trls(desirable_rows, drift):
    made = tokens()
    labels = torch.arange(2 * ROWS) < desirable_rows
    others = -torch.rand(7, dtype=torch.float64) * 40
    mismatched = (others + drift, others)
    batch = UnpairedLogps((made.policy * made.mask).sum(1), labels, (made.reference * made.mask).sum(1), *mismatched)
    config = loss_config("kto", {"desirable_weight": 1.2, "undesirable_weight": 0.7})
    ours = LOSSES["kto"].function(batch, config).losses.mean()
    theirs = trl_kto(made, labels, mismatched, desirable_weight=1.2, undesirable_weight=0.7)
    assert_same(ours, theirs, made.policy)


def test_kto_around_zero_is_trls_apo_zero_unpaired():
    made = tokens()
    labels = torch.arange(2 * ROWS) % 3 == 0
    batch = UnpairedLogps((made.policy * made.mask).sum(1), labels, (made.reference * made.mask).sum(1))
    ours = LOSSES["kto"].function(batch, loss_config("kto", {"reference_point": "zero"})).losses.mean()
    assert_same(
        ours,
        trl_kto(made, labels, (None, None), loss_type="apo_zero_unpaired", calculate_KL=False),
        made.policy,
    )


def experimental(module, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(pytest.importorskip(f"trl.experimental.{module}"), name)


def bare(trainer_class, **attributes):
    trainer = object.__new__(trainer_class)
    trainer.__dict__.update(attributes, accelerator=OneProcess())
    return trainer


def means(made):
    return (made.policy * made.mask).sum(1) / made.mask.sum(1)


def test_orpo_is_trls():
    # TRL computes the odds ratio in float32.
    made = tokens(torch.float32)
    chosen, rejected = means(made).chunk(2)
    trainer = bare(experimental("orpo", "ORPOTrainer"), beta=0.3)
    nll = torch.rand(ROWS) + 1
    theirs = nll.mean() - trainer.odds_ratio_loss(chosen, rejected)[0].mean()
    config = loss_config("orpo", {"lambda_orpo": 0.3, "nll_over": "prompt_and_chosen"})
    ours = LOSSES["orpo"].function(made.batch(prompt_chosen_nll=nll), config).losses.mean()
    assert_same(ours, theirs, made.policy)


def test_trls_orpo_has_no_gradient_at_a_certain_completion_and_ours_has():
    leaf, other = torch.tensor([-1e-9], requires_grad=True), torch.tensor([-1.0])
    trainer = bare(experimental("orpo", "ORPOTrainer"), beta=0.1)
    (theirs,) = torch.autograd.grad(-trainer.odds_ratio_loss(other, leaf)[0].mean(), leaf)
    one = torch.ones(1, dtype=torch.int64)
    batch = PairLogps(other, leaf, chosen_token_counts=one, rejected_token_counts=one)
    (ours,) = torch.autograd.grad(LOSSES["orpo"].function(batch, loss_config("orpo", {})).losses.sum(), leaf)
    assert not bool(theirs.isfinite())
    assert bool(ours.isfinite())
    assert float(ours) > 0


@pytest.mark.parametrize(
    ("method", "loss_type", "settings", "alpha", "smoothing"),
    [
        ("cpo", "sigmoid", {"alpha": 0.0}, 0.0, 0.0),
        ("cpo", "sigmoid", {"alpha": 0.0, "label_smoothing": 0.1}, 0.0, 0.1),
        ("simpo", "simpo", {"gamma": 0.4}, 0.0, 0.0),
        ("simpo", "simpo", {"gamma": 0.4, "label_smoothing": 0.1}, 0.0, 0.1),
        ("alphapo", "simpo", {"gamma": 0.4, "alpha": 0.25}, 0.25, 0.0),
        ("alphapo", "simpo", {"gamma": 0.4, "alpha": -0.5}, -0.5, 0.0),
    ],
)
def test_reference_free_losses_are_trls(method, loss_type, settings, alpha, smoothing):
    made = tokens()
    inputs = (made.policy * made.mask).sum(1) if loss_type == "sigmoid" else means(made)
    trainer = bare(
        experimental("cpo", "CPOTrainer"),
        alpha=alpha,
        beta=1.5,
        label_smoothing=smoothing,
        loss_type=loss_type,
        simpo_gamma=0.4,
    )
    theirs = trainer.cpo_loss(*inputs.chunk(2))
    output = LOSSES[method].function(made.batch(), loss_config(method, settings | {"beta": 1.5}))
    torch.testing.assert_close(output.chosen_rewards, theirs[1])
    assert_same(output.losses.mean(), theirs[0].mean(), made.policy)


def test_cdpo_is_trls_smoothed_pair_loss():
    # TRL's DPO trainer has no smoothed sigmoid loss; its CPO trainer has one, here on log-ratios.
    made = tokens()
    batch = made.batch()
    trainer = bare(
        experimental("cpo", "CPOTrainer"),
        alpha=0.0,
        beta=0.1,
        label_smoothing=0.2,
        loss_type="sigmoid",
        simpo_gamma=0.0,
    )
    theirs = trainer.cpo_loss(
        batch.policy_chosen_logps - batch.reference_chosen_logps,
        batch.policy_rejected_logps - batch.reference_rejected_logps,
    )[0].mean()
    ours = LOSSES["dpo"].function(batch, loss_config("dpo", {"label_smoothing": 0.2})).losses.mean()
    assert_same(ours, theirs, made.policy)


@pytest.mark.parametrize("centering", [0.0, 0.01])
@pytest.mark.parametrize("with_margin", [False, True])
def test_the_reward_models_loss_is_trls(centering, with_margin):
    scores = torch.randn(2 * ROWS, 1, dtype=torch.float64, requires_grad=True)
    margin = torch.rand(ROWS, dtype=torch.float64)

    class GivenScores(torch.nn.Module):
        def forward(self, **_):
            return SimpleNamespace(logits=scores)

    trainer = bare(
        trl.RewardTrainer,
        args=SimpleNamespace(center_rewards_coefficient=centering or None),
        model=GivenScores(),
        _metrics={"train": defaultdict(list)},
        _total_train_tokens=0,
        _tp_size=1,
    )
    inputs = {"attention_mask": torch.ones(2 * ROWS, 3)} | ({"margin": margin} if with_margin else {})
    theirs = trainer.compute_loss(trainer.model, inputs)
    ours = reward_model_loss(*scores[:, 0].chunk(2), margin if with_margin else None, centering).mean()
    assert_same(ours, theirs, scores)

"""Credit and losses of methods on sampled answers, by hand."""

import pytest
import torch

from thumbline.losses import LOSSES, ROLLOUTS, MissingInputError, RolloutBatch, Rollouts, loss_config, loss_spec
from thumbline.losses.ppo import PPOConfig, ppo, ppo_credit, whitened
from thumbline.losses.rloo import RLOOConfig, leave_one_out, rloo, rloo_credit
from thumbline.losses.rollouts import penalised_scores

MASK = torch.tensor([[True, True], [True, False]])
LOGPS, REFERENCE = torch.tensor([[-1.0, -2.0], [-1.0, -9.0]]), torch.tensor([[-1.5, -2.0], [-3.0, 7.0]])
SCORES = torch.tensor([3.0, 1.0])


def rollouts(**changes) -> Rollouts:
    values = {"scores": SCORES, "token_logps": LOGPS, "reference_token_logps": REFERENCE, "mask": MASK, "samples": 2}
    return Rollouts(**values | changes)


def update(change: float, advantages: torch.Tensor, **values) -> RolloutBatch:
    """Answers of two tokens, the second of one; the policy has moved by `change` at the first token."""
    return RolloutBatch(LOGPS + torch.tensor([[change, 0.0]]), LOGPS, advantages, MASK, **values)


def test_an_answers_kl_is_taken_off_its_score():
    # .5 nats of the first answer, 2 of the second, whose second token is none
    torch.testing.assert_close(penalised_scores(rollouts(), 0.1), torch.tensor([2.95, 0.8]))


def test_an_answer_is_held_against_the_others_to_its_prompt():
    rewards = torch.tensor([1.0, 2.0, 6.0, 0.0, 0.0, 3.0])
    # 1 - 4, 2 - 3.5, 6 - 1.5; 0 - 1.5, 0 - 1.5, 3 - 0
    torch.testing.assert_close(leave_one_out(rewards, 3), torch.tensor([-3.0, -1.5, 4.5, -1.5, -1.5, 3.0]))


def test_every_token_of_an_answer_has_its_advantage():
    credit = rloo_credit(rollouts(), RLOOConfig(kl_coefficient=0.1))
    torch.testing.assert_close(credit.advantages, torch.tensor([[2.15, 2.15], [-2.15, 0.0]]))
    assert credit.returns is None


def test_advantages_are_normalised_where_asked():
    spread = rloo_credit(rollouts(), RLOOConfig(normalise_advantages=True)).advantages[:, 0]
    assert float(spread.sum()) == pytest.approx(0, abs=1e-6)
    assert float(spread.std()) == pytest.approx(1, abs=1e-3)


def test_one_answer_a_prompt_has_no_others():
    with pytest.raises(ValueError, match="takes at least 2 a prompt, not 1"):
        rloo_credit(rollouts(samples=1), RLOOConfig())


@pytest.mark.parametrize(
    ("change", "advantage", "loss", "clipped"),
    [
        (0.0, 2.0, -2.0, 0.0),
        (0.1, 2.0, -2.0 * 1.1051709, 0.0),
        (0.5, 2.0, -2.0 * 1.2, 1.0),  # as far as a good answer is pushed
        (0.5, -2.0, 2.0 * 1.6487213, 0.0),  # a bad one that grew is always pulled back
        (-0.5, -2.0, 2.0 * 0.8, 1.0),
    ],
)
def test_an_answers_ratio_is_clipped_as_a_whole(change, advantage, loss, clipped):
    # Both tokens of the first answer move by half of it.
    moved = LOGPS + torch.tensor([[change / 2, change / 2], [0.0, 0.0]])
    output = rloo(RolloutBatch(moved, LOGPS, torch.full((2, 2), advantage), MASK), RLOOConfig())
    torch.testing.assert_close(output.losses, torch.tensor([loss, -advantage]))
    assert output.clipped.tolist() == [clipped, 0.0]


def test_reinforce_is_the_gradient_where_the_policy_sampled():
    logps = LOGPS.clone().requires_grad_()
    advantages = torch.tensor([[2.0, 2.0], [-3.0, 0.0]])
    rloo(RolloutBatch(logps, LOGPS, advantages, MASK), RLOOConfig()).losses.sum().backward()
    torch.testing.assert_close(logps.grad, torch.tensor([[-2.0, -2.0], [3.0, 0.0]]))


def test_ppo_adds_the_value_heads_loss():
    values = {"values": torch.full((2, 2), 1.0), "old_values": torch.full((2, 2), 1.0), "returns": torch.zeros(2, 2)}
    output = ppo(update(0.0, torch.ones(2, 2), **values), PPOConfig(value_coefficient=0.5))
    # -1 a token of the policy, 1/2 a token of the value head
    torch.testing.assert_close(output.losses, torch.tensor([-2 + 0.5, -1 + 0.25]))
    torch.testing.assert_close(output.policy_losses, torch.tensor([-2.0, -1.0]))
    torch.testing.assert_close(output.value_losses, torch.tensor([1.0, 0.5]))


def test_ppo_counts_the_tokens_that_clipping_held():
    values = {"values": torch.zeros(2, 2), "old_values": torch.zeros(2, 2), "returns": torch.zeros(2, 2)}
    assert ppo(update(0.5, torch.ones(2, 2), **values), PPOConfig()).clipped.tolist() == [1.0, 1.0]
    assert ppo(update(0.5, -torch.ones(2, 2), **values), PPOConfig()).clipped.tolist() == [0.0, 0.0]
    assert ppo(update(-0.5, -torch.ones(2, 2), **values), PPOConfig()).clipped.tolist() == [1.0, 1.0]


def test_ppos_credit_by_hand():
    config = PPOConfig(kl_coefficient=0.1, discount=1.0, trace_decay=1.0, whiten_advantages=False)
    credit = ppo_credit(rollouts(values=torch.tensor([[1.0, 2.0], [0.5, 9.0]])), config)
    # what is still to come: 3 less .05 and 3; 1 less .2
    torch.testing.assert_close(credit.returns, torch.tensor([[2.95, 3.0], [0.8, 0.0]]))
    torch.testing.assert_close(credit.advantages, torch.tensor([[1.95, 1.0], [0.3, 0.0]]))
    white = ppo_credit(
        rollouts(values=torch.tensor([[1.0, 2.0], [0.5, 9.0]])), PPOConfig(kl_coefficient=0.1, trace_decay=1.0)
    )
    torch.testing.assert_close(white.advantages, whitened(credit.advantages, MASK))


def test_whitened_rewards_keep_their_mean():
    plain, white = (
        ppo_credit(
            rollouts(values=torch.zeros(2, 2)),
            PPOConfig(discount=0.0, trace_decay=0.0, whiten_advantages=False, whiten_rewards=whiten),
        ).advantages[MASK]
        for whiten in (False, True)
    )
    assert float(white.mean()) == pytest.approx(float(plain.mean()), abs=1e-6)
    assert float(white.std(correction=0)) == pytest.approx(1, abs=1e-5)


def test_what_a_method_needs_is_asked_for():
    with pytest.raises(MissingInputError, match="PPO needs `values`"):
        ppo_credit(rollouts(), PPOConfig())
    with pytest.raises(MissingInputError, match="PPO needs `returns`"):
        ppo(update(0.0, LOGPS, values=LOGPS, old_values=LOGPS), PPOConfig())
    with pytest.raises(ValueError, match="2 rows are no whole number of prompts at 3 each"):
        rollouts(samples=3)
    with pytest.raises(ValueError, match="differ in shape"):
        rollouts(scores=torch.zeros(3))
    with pytest.raises(ValueError, match="must be at least 0"):
        RLOOConfig(kl_coefficient=-1)


def test_a_wild_token_gives_a_finite_loss_and_gradient():
    for method, spec in ROLLOUTS.items():
        logps = torch.tensor([[-1e4, -2.0], [-1.0, 0.0]], requires_grad=True)
        values = torch.zeros(2, 2, requires_grad=True)
        beside = {"values": values, "old_values": LOGPS, "returns": LOGPS} if spec.has_values else {}
        batch = RolloutBatch(logps, torch.zeros(2, 2), -torch.ones(2, 2), MASK, **beside)
        spec.function(batch, loss_config(method, {})).losses.sum().backward()
        assert bool(logps.grad.isfinite().all())


def test_the_registry_says_what_each_takes():
    assert not set(LOSSES) & set(ROLLOUTS)
    assert not loss_spec("dpo").samples_answers
    for name in ROLLOUTS:
        spec = loss_spec(name)
        assert (spec.samples_answers, spec.data, spec.paired, spec.needs_reference) == (True, "prompts", False, True)
        assert float(getattr(loss_config(name, {}), spec.reward_scale)) == 0.05

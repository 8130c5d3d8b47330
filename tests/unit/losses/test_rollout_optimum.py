"""What PPO, RLOO and DPO are for, on policies that are tables: an optimum that is known in closed form is reached.

Of all policies, pi = ref e^(r / beta) / Z has the highest mean of r - beta log(pi / ref). PPO and RLOO raise that mean
by answers that they sample; DPO never samples, and has the same optimum where pairs are labelled by Bradley-Terry.
"""

from itertools import product

import pytest
import torch

from thumbline.losses import ROLLOUTS, PairLogps, RolloutBatch, Rollouts, loss_config
from thumbline.losses.dpo import DPOConfig, dpo

BETA = 0.5
VOCABULARY = 4
# All answers of two tokens.
ANSWERS = torch.tensor(list(product(range(VOCABULARY), repeat=2)))
PLAIN = {"ppo": {"whiten_advantages": False, "trace_decay": 1.0, "value_coefficient": 1.0}, "rloo": {}}


class Table(torch.nn.Module):
    """A policy over answers of two tokens: logits of the first, and of the second after each first."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.first = torch.nn.Parameter(torch.randn(VOCABULARY, generator=generator))
        self.second = torch.nn.Parameter(torch.randn(VOCABULARY, VOCABULARY, generator=generator))
        self.values = torch.nn.Parameter(torch.zeros(1 + VOCABULARY))

    def token_logps(self, answers: torch.Tensor) -> torch.Tensor:
        """(answers, 2) nats."""
        first, second = self.first.log_softmax(0), self.second.log_softmax(1)
        return torch.stack([first[answers[:, 0]], second[answers[:, 0], answers[:, 1]]], dim=1)

    def expected(self, answers: torch.Tensor) -> torch.Tensor:
        """(answers, 2) values before each token."""
        return torch.stack([self.values[:1].expand(len(answers)), self.values[1 + answers[:, 0]]], dim=1)

    def probabilities(self) -> torch.Tensor:
        """(answers,) of all answers."""
        return self.token_logps(ANSWERS).sum(dim=1).exp().detach()


REFERENCE, REWARDS = Table(1), torch.rand(len(ANSWERS), generator=torch.Generator().manual_seed(2)) * 3
OPTIMUM = REFERENCE.probabilities() * torch.exp(REWARDS / BETA)
OPTIMUM = OPTIMUM / OPTIMUM.sum()


def distance(policy: Table, optimum: torch.Tensor = OPTIMUM) -> float:
    """Total variation."""
    return 0.5 * float((policy.probabilities() - optimum).abs().sum())


def train_on_rollouts(
    method: str, rewards: torch.Tensor, beta: float, steps: int = 120, rows: int = 128, **settings
) -> Table:
    spec, config = ROLLOUTS[method], loss_config(method, {"kl_coefficient": beta} | PLAIN[method] | settings)
    policy, samples, generator = Table(1), 4, torch.Generator().manual_seed(3)
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, steps)
    mask = torch.ones(rows, 2, dtype=torch.bool)
    for _ in range(steps):
        drawn = torch.multinomial(policy.probabilities(), rows, replacement=True, generator=generator)
        answers = ANSWERS[drawn]
        with torch.no_grad():
            old, values = policy.token_logps(answers), policy.expected(answers)
            reference = REFERENCE.token_logps(answers)
        rollouts = Rollouts(rewards[drawn], old, reference, mask, samples, values if spec.has_values else None)
        credit = spec.credit_of(rollouts, config)
        for _ in range(2):
            batch = RolloutBatch(
                policy.token_logps(answers),
                old,
                credit.advantages,
                mask,
                *((policy.expected(answers), values, credit.returns) if spec.has_values else ()),
            )
            loss = spec.function(batch, config).losses.mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    return policy


@pytest.mark.parametrize("method", sorted(ROLLOUTS))
def test_sampled_answers_lead_to_the_optimum(method):
    assert distance(Table(1)) > 0.3  # where it begins
    assert distance(train_on_rollouts(method, REWARDS, BETA)) < 0.02


def test_dpo_leads_to_the_same_optimum_without_sampling():
    policy, left, right = Table(1), *torch.combinations(torch.arange(len(ANSWERS))).T
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.05)
    with torch.no_grad():
        reference = REFERENCE.token_logps(ANSWERS).sum(dim=1)
    preferred = torch.sigmoid(REWARDS[left] - REWARDS[right])
    for _ in range(300):
        logps = policy.token_logps(ANSWERS).sum(dim=1)
        pairs = PairLogps(
            logps[left], logps[right], reference[left], reference[right], chosen_better_probability=preferred
        )
        optimizer.zero_grad()
        dpo(pairs, DPOConfig(beta=BETA, soft_labels=True)).losses.mean().backward()
        optimizer.step()
    assert distance(policy) < 0.02


@pytest.mark.parametrize("method", sorted(ROLLOUTS))
def test_the_best_arm_of_a_bandit_is_found_where_nothing_holds_the_policy(method):
    rewards = (torch.tensor([2, 1]) == ANSWERS).all(dim=1).float()
    policy = train_on_rollouts(method, rewards, beta=0.0, steps=60)
    assert float(policy.probabilities()[rewards.argmax()]) > 0.95


def test_a_higher_kl_coefficient_keeps_the_policy_nearer_the_reference():
    near, far = (distance(train_on_rollouts("rloo", REWARDS, beta, 60), REFERENCE.probabilities()) for beta in (2, 0.2))
    assert near < 0.7 * far

"""RLOO and PPO give the numbers of TRL's trainers, on answers that those sampled themselves.

RLOO is held to TRL's RLOOTrainer as it is installed: a step of two updates on a tiny model, whose sampled answers,
advantages and losses are looked at on the way. TRL has no PPO trainer after 1.12.0; what that version's gave on a toy
is kept in `ppo_trl_1_12_0.json`.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny import save_tiny_model
from thumbline.losses import RolloutBatch, Rollouts
from thumbline.losses.ppo import (
    PPOConfig,
    generalised_advantages,
    masked_mean,
    ppo,
    ppo_credit,
    shaped_rewards,
    whitened,
)
from thumbline.losses.rloo import RLOOConfig, rloo, rloo_credit
from thumbline.pipeline.training.policy import load_policy
from thumbline.pipeline.training.rows import TrainingSequence

FIXTURE = json.loads((Path(__file__).parent / "ppo_trl_1_12_0.json").read_text())
BETA, CLIP, SAMPLES = 0.2, 0.1, 4


def tensor(name: str) -> torch.Tensor:
    return torch.tensor(FIXTURE[name])


def unbiased(count: int) -> float:
    """TRL whitens by a variance over one less than the count."""
    return float(np.sqrt((count - 1) / count))


@pytest.fixture(scope="module")
def stepped(tmp_path_factory):
    """What TRL's RLOOTrainer sampled, the advantages that it gave, and its losses in two updates."""
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("rloo")
    model = save_tiny_model(folder / "model")
    seen = {"inputs": None, "losses": [], "logps": []}

    class Watched(trl.RLOOTrainer):
        def _compute_loss(self, model, inputs):
            seen["inputs"] = {name: value.clone() for name, value in inputs.items() if torch.is_tensor(value)}
            loss = super()._compute_loss(model, inputs)
            seen["losses"].append(float(loss))
            return loss

        def _get_per_token_logps_and_entropies(self, *args, **kwargs):
            found = super()._get_per_token_logps_and_entropies(*args, **kwargs)
            seen["logps"].append(found[0].detach().clone())
            return found

    settings = trl.RLOOConfig(
        output_dir=str(folder / "out"),
        per_device_train_batch_size=2 * SAMPLES,
        num_generations=SAMPLES,
        num_iterations=2,
        max_steps=2,
        max_completion_length=6,
        beta=BETA,
        epsilon=CLIP,
        learning_rate=3e-2,
        lr_scheduler_type="constant",
        bf16=False,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        seed=5,
    )
    rewards = []

    def reward(completion_ids, **_):
        rewards[:] = [float(sum(ids) % 7) for ids in completion_ids]
        return list(rewards)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = Watched(
            AutoModelForCausalLM.from_pretrained(model),
            reward_funcs=reward,
            args=settings,
            train_dataset=datasets.Dataset.from_list([{"prompt": text} for text in ("When?", "What now?") * 4]),
            processing_class=__import__("transformers").AutoTokenizer.from_pretrained(model),
        )
        with torch.no_grad():
            for weight in trainer.ref_model.parameters():
                weight.mul_(1.2)
        trainer.train()
    return seen | {"rewards": rewards, "model": model}


def test_rloo_gives_the_advantages_and_losses_of_trls_trainer(stepped):
    old, reference, _, second = stepped["logps"]
    mask = stepped["inputs"]["completion_mask"].bool()
    credit = rloo_credit(
        Rollouts(torch.tensor(stepped["rewards"]), old, reference, mask, SAMPLES), RLOOConfig(kl_coefficient=BETA)
    )
    # The trainer deals rows out in another order before each update: they are told apart by their log-probs.
    place = [int((stepped["inputs"]["old_logps"] - total).abs().argmin()) for total in (old * mask).sum(dim=1)]
    torch.testing.assert_close(credit.advantages[:, 0], stepped["inputs"]["advantages"][place], atol=1e-4, rtol=1e-4)
    batch = RolloutBatch(second[place], old, credit.advantages, mask)
    found = rloo(batch, RLOOConfig(kl_coefficient=BETA, clip_range=CLIP))
    assert float(found.losses.mean()) == pytest.approx(stepped["losses"][1], abs=2e-4)
    assert 0 < float(found.clipped.mean()) < 1


def test_the_policy_gives_the_log_probs_that_trls_trainer_gives(stepped):
    inputs, old = stepped["inputs"], stepped["logps"][0]
    policy = load_policy(stepped["model"], device="cpu", dtype="float32", gradient_checkpointing=False)
    mask = inputs["completion_mask"].bool()
    rows = [
        TrainingSequence(f"{row}", tuple(prompt[real].tolist()), tuple(ids[own].tolist()), None)
        for row, (prompt, real, ids, own) in enumerate(
            zip(inputs["prompt_ids"], inputs["prompt_mask"].bool(), inputs["completion_ids"], mask, strict=True)
        )
    ]
    with torch.no_grad():
        each = policy.pass_over(rows, each=True).each
    totals = sorted(float(total) for total in each.logps.sum(dim=1))
    assert totals == pytest.approx(sorted(float(total) for total in (old * mask).sum(dim=1)), abs=1e-3)


def test_ppo_gives_the_rewards_of_trls_trainer():
    config, scores = PPOConfig(**FIXTURE["settings"]), tensor("scores") - FIXTURE["missing_eos_penalty"]
    mask = torch.ones_like(tensor("values"), dtype=torch.bool)
    rewards = shaped_rewards(scores, tensor("token_logps"), tensor("reference_token_logps"), mask, config)
    mean = masked_mean(rewards, mask)
    found = whitened(rewards, mask) * unbiased(mask.numel()) + mean
    torch.testing.assert_close(found, tensor("whitened_rewards"), atol=2e-5, rtol=1e-5)


def test_ppo_gives_the_advantages_of_trls_trainer():
    config = PPOConfig(**FIXTURE["settings"])
    mask = torch.ones_like(tensor("values"), dtype=torch.bool)
    found = generalised_advantages(tensor("whitened_rewards"), tensor("values"), mask, config)
    torch.testing.assert_close(found.advantages, tensor("unwhitened"), atol=2e-5, rtol=1e-5)
    white = whitened(found.advantages, mask) * unbiased(mask.numel())
    torch.testing.assert_close(white, tensor("advantages"), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("update", ["first", "second"])
def test_ppo_gives_the_losses_of_trls_trainer(update):
    config = PPOConfig(**FIXTURE["settings"])
    mask = torch.ones_like(tensor("values"), dtype=torch.bool)
    first = update == "first"
    batch = RolloutBatch(
        tensor("token_logps" if first else "second_token_logps"),
        tensor("token_logps"),
        tensor("advantages"),
        mask,
        tensor("values" if first else "second_values"),
        tensor("values"),
        tensor("unwhitened") + tensor("values"),
    )
    output, expected = ppo(batch, config), FIXTURE["first_losses" if first else "losses"]
    assert float(output.policy_losses.sum() / mask.sum()) == pytest.approx(expected["policy"], abs=2e-5)
    assert float(output.value_losses.sum() / mask.sum()) == pytest.approx(expected["value"], rel=1e-5)
    if not first:
        assert float(output.clipped.sum() / mask.sum()) == pytest.approx(expected["clip_fraction"], abs=1e-6)
    total = expected["policy"] + config.value_coefficient * expected["value"]
    assert float(output.losses.sum() / mask.sum()) == pytest.approx(total, rel=1e-5)


def test_ppos_credit_is_these_steps_in_a_row():
    config = PPOConfig(**FIXTURE["settings"])
    mask = torch.ones_like(tensor("values"), dtype=torch.bool)
    scores = tensor("scores") - FIXTURE["missing_eos_penalty"]
    found = ppo_credit(
        Rollouts(scores, tensor("token_logps"), tensor("reference_token_logps"), mask, 1, tensor("values")), config
    )
    # A variance over the count instead of one less moves rewards by 1.3%, and what is made of them likewise.
    torch.testing.assert_close(found.advantages, tensor("advantages"), atol=0.05, rtol=0.05)

"""What makes a run repeatable: no dropout anywhere, and checkpoints whose times and numbers change nothing."""

import json

import pytest
import torch
from transformers import AutoConfig, LlamaConfig, OPTConfig, OPTForCausalLM

from tests.interruption import run_until
from tests.tiny import save_tiny_model, tiny_tokenizer
from tests.unit.training.test_trainer import config, objective, pairs, policy_of, sequence
from thumbline.pipeline.config import TrainConfig, build_config
from thumbline.pipeline.stages import train
from thumbline.pipeline.training.checkpoints import load_checkpoint, save_model
from thumbline.pipeline.training.dropout import dropout_rates, restore_dropout, without_dropout
from thumbline.pipeline.training.trainer import Trainer


def llama_with_dropout(folder):
    """Attention dropout is a function's argument: no module shows it."""
    save_tiny_model(folder)
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"attention_dropout": 0.1}))
    return folder


def opt_with_dropout(folder):
    """Dropout of three kinds, and whole layers that are left out."""
    tokenizer = tiny_tokenizer()
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 64, "num_hidden_layers": 2, "ffn_dim": 96}
    sizes |= {"num_attention_heads": 4, "max_position_embeddings": 128, "word_embed_proj_dim": 64}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = OPTForCausalLM(OPTConfig(**sizes, dropout=0.3, attention_dropout=0.1, layerdrop=0.5))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


MODELS = {"llama": llama_with_dropout, "opt": opt_with_dropout}


@pytest.fixture(scope="module", params=sorted(MODELS))
def noisy_dir(request, tmp_path_factory):
    return MODELS[request.param](tmp_path_factory.mktemp(request.param))


def test_four_passes_over_one_row_are_one(noisy_dir):
    policy, batch = policy_of(noisy_dir), [sequence(1)]
    assert policy.model.training
    logps = [float(policy.logps(batch).logps.detach()) for _ in range(4)]
    assert len(set(logps)) == 1


def trained(model_dir, folder, settings, stop_after=None, clock=lambda: 0.0):
    """Weights and log after all steps, or None where it was stopped."""
    folder.mkdir(exist_ok=True)
    policy, rows = policy_of(model_dir), pairs(10)
    trainer = Trainer(policy, objective("dpo", settings.micro_batch_rows), settings, rows, rows[:2], folder, clock)
    log = run_until(trainer, stop_after)
    return None if log is None else (policy.model.state_dict(), log)


def same(left, right):
    return left[1] == right[1] and all(torch.equal(left[0][name], right[0][name]) for name in right[0])


def test_a_model_with_dropout_resumes_to_the_same_weights(noisy_dir, tmp_path):
    calm = trained(noisy_dir, tmp_path / "calm", config())
    trained(noisy_dir, tmp_path / "stormy", config(), stop_after=3)
    assert load_checkpoint(tmp_path / "stormy").step == 2
    assert same(trained(noisy_dir, tmp_path / "stormy", config()), calm)


def test_the_trained_model_keeps_the_rates_of_the_untrained(noisy_dir, tmp_path):
    policy = policy_of(noisy_dir)
    assert not any(rate.value for rate in dropout_rates(policy.model.config))
    save_model(policy, noisy_dir, tmp_path / "model")
    before, after = (
        [(rate.name, rate.value) for rate in dropout_rates(AutoConfig.from_pretrained(folder))]
        for folder in (noisy_dir, tmp_path / "model")
    )
    assert before == after
    assert any(value for _, value in after)


def test_rates_of_configs_in_a_config_are_found():
    outer = LlamaConfig(attention_dropout=0.2)
    outer.text_config = LlamaConfig(attention_dropout=0.1)
    outer.drop_last, outer.dropout_kind = True, "none"
    assert [(rate.name, rate.value) for rate in dropout_rates(outer)] == [
        ("attention_dropout", 0.2),
        ("attention_dropout", 0.1),
    ]
    original = LlamaConfig(attention_dropout=0.2)
    original.text_config = LlamaConfig(attention_dropout=0.1)
    restore_dropout(without_dropout(outer), original)
    assert outer.text_config.attention_dropout == 0.1


def test_a_checkpoint_is_kept_when_its_time_has_come(noisy_dir, tmp_path):
    seconds = iter(range(0, 10_000, 40))
    settings = config(checkpoint_every=1000, checkpoint_minutes=1.0)
    calm = trained(noisy_dir, tmp_path / "never", settings)
    assert load_checkpoint(tmp_path / "never") is None
    trained(noisy_dir, tmp_path / "timed", settings, stop_after=3, clock=lambda: next(seconds))
    assert load_checkpoint(tmp_path / "timed").step == 2
    assert same(trained(noisy_dir, tmp_path / "timed", settings), calm)


def test_when_checkpoints_are_kept_is_no_part_of_the_fingerprint():
    def settings(**other):
        document = {"name": "run", "model": "demo", "events": {"inputs": ["log.jsonl"]}, "train": other}
        return train.settings(build_config(document, origin="test"))

    assert settings(checkpoint_minutes=1.0, checkpoint_every=3) == settings()
    assert settings(learning_rate=1.0) != settings()


def test_the_optimizer_is_the_fused_one_and_steps_as_the_plain_one(noisy_dir, tmp_path, monkeypatch):
    fused = trained(noisy_dir, tmp_path / "fused", config(learning_rate=1e-3))
    assert same(trained(noisy_dir, tmp_path / "again", config(learning_rate=1e-3)), fused)
    made, plain = [], torch.optim.AdamW

    def unfused(parameters, **settings):
        made.append(settings.pop("fused"))
        return plain(parameters, **settings)

    monkeypatch.setattr(torch.optim, "AdamW", unfused)
    other = trained(noisy_dir, tmp_path / "plain", config(learning_rate=1e-3))
    assert made == [True]
    for name, weights in fused[0].items():
        torch.testing.assert_close(weights, other[0][name], atol=1e-5, rtol=1e-3)


def test_the_time_between_checkpoints_is_above_zero():
    with pytest.raises(ValueError, match="greater than 0"):
        TrainConfig(checkpoint_minutes=0)

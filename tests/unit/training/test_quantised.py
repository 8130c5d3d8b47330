"""Adapters on 4-bit weights: the reference, the policy before its first step and the saved adapter's base are one."""

import pytest
import torch

from tests.tiny import save_tiny_model
from tests.unit.training.test_optimizers import losses, trained
from tests.unit.training.test_trainer import config, pairs
from thumbline.pipeline.cli.evaluate import PairScoring
from thumbline.pipeline.config import EngineConfig, TrainConfig, build_config
from thumbline.pipeline.engines.base import TokenSequence
from thumbline.pipeline.engines.hf import HFEngine
from thumbline.pipeline.engines.registry import engine_identity
from thumbline.pipeline.errors import ConfigError, EngineError, MissingDependencyError
from thumbline.pipeline.training.adapters import Base, with_adapter
from thumbline.pipeline.training.checkpoints import load_checkpoint, save_model, trained_weights
from thumbline.pipeline.training.methods import check_methods
from thumbline.pipeline.training.policy import load_policy

pytest.importorskip("peft", reason="peft is not installed")
pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")

NF4 = {"weights": "nf4", "dtype": "bfloat16", "save": "adapter"}
SEQUENCES = [sequence for row in pairs(4) for sequence in row.sequences]


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


def settings(**other):
    return config(**({"adapter": "lora", "learning_rate": 1e-2, "lora": {"rank": 4}} | NF4 | other))


def policy_of(model_dir, train):
    policy = load_policy(
        model_dir,
        device="cpu",
        dtype=train.dtype,
        gradient_checkpointing=train.gradient_checkpointing,
        weights=train.weights,
    )
    return with_adapter(policy, train)


def logps(policy):
    with torch.no_grad():
        return policy.logps(SEQUENCES).logps


def scored(model_dir, **other):
    """Log-probs by the scoring engine."""
    engine = HFEngine(model_dir, EngineConfig(engine="hf", **other))
    entries = [
        TokenSequence(one.sequence_id, tuple(one.prompt_token_ids), tuple(one.completion_token_ids))
        for one in SEQUENCES
    ]
    found = torch.tensor([score.logps for score in engine.score(entries)], dtype=torch.float64)
    engine.close()
    return found


def test_layers_hold_four_bits_and_what_is_trained_is_float32(model_dir):
    policy = policy_of(model_dir, settings())
    assert {weight.dtype for weight in trained_weights(policy.model).values()} == {torch.float32}
    layer = policy.model.model.layers[0].mlp.up_proj.base_layer.weight
    assert (layer.dtype, layer.numel()) == (torch.uint8, 64 * 128 // 2)
    assert layer.quant_state.quant_type == "nf4"
    assert layer.quant_state.nested
    assert policy.model.get_input_embeddings().weight.dtype == torch.bfloat16


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_the_reference_that_is_scored_in_four_bits_is_the_untrained_policy(model_dir, kind):
    untrained = logps(policy_of(model_dir, settings(adapter=kind)))
    gap = (scored(model_dir, quantization="nf4") - untrained).abs().mean()
    unquantised = (scored(model_dir) - untrained).abs().mean()
    # Rounding in bfloat16 is what is left; the unquantised model is another one.
    assert gap < 0.01
    assert unquantised > 10 * gap


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_a_stopped_run_ends_with_the_same_bits(model_dir, tmp_path, kind):
    train = settings(adapter=kind)
    calm, calm_log = trained(model_dir, tmp_path / "calm", train)
    trained(model_dir, tmp_path / "stormy", train, stop_after=3)
    assert set(load_checkpoint(tmp_path / "stormy").model) == set(trained_weights(calm.model))
    stormy, stormy_log = trained(model_dir, tmp_path / "stormy", train)
    assert stormy_log == calm_log
    ours, theirs = trained_weights(stormy.model), trained_weights(calm.model)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert losses(calm_log)[-1] < losses(calm_log)[0]


def test_the_saved_adapter_is_scored_as_the_policy_it_was(model_dir, tmp_path):
    policy, _ = trained(model_dir, tmp_path / "run", settings())
    expected, untrained = logps(policy), logps(policy_of(model_dir, settings()))
    save_model(policy, model_dir, tmp_path / "adapter", Base(str(model_dir), None))
    alone = scored(model_dir, quantization="nf4", adapter=str(tmp_path / "adapter"))
    moved = (expected - untrained).abs().mean()
    assert moved > 0.1
    # The scorer multiplies the adapter in float32, training in bfloat16.
    assert (alone - expected).abs().mean() < 0.05 * moved
    assert not (tmp_path / "adapter" / "config.json").exists()


def test_scoring_without_gradients_leaves_the_layers_as_they_are(model_dir):
    policy = policy_of(model_dir, settings())
    first = logps(policy)
    policy.model.eval()
    assert torch.equal(logps(policy), first)
    policy.model.train()
    policy.logps(SEQUENCES).logps.sum().backward()
    assert all(weight.grad is not None for weight in policy.model.parameters() if weight.requires_grad)


def test_the_engines_identity_names_the_quantiser():
    plain, quantised = (
        engine_identity(EngineConfig(engine="hf", quantization=quantization)) for quantization in (None, "nf4")
    )
    assert quantised["quantization"].startswith("nf4, bitsandbytes ")
    assert {name: value for name, value in quantised.items() if name != "quantization"} == plain


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(EngineError, match="cannot load it in 4 bits"):
        HFEngine(tmp_path, EngineConfig(engine="hf", quantization="nf4"))


def test_without_bitsandbytes_the_command_that_installs_it_is_said(model_dir, monkeypatch):
    monkeypatch.setattr("transformers.quantizers.quantizer_bnb_4bit.is_bitsandbytes_available", lambda: False)
    with pytest.raises(MissingDependencyError, match=r"nf4.* needs .*bitsandbytes.* 'thumbline\[quantised\]'"):
        policy_of(model_dir, settings())


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"adapter": "none", "save": "merged"}, "weights: nf4 cannot be trained themselves"),
        ({"save": "merged"}, "set save: adapter"),
        ({"dtype": "float32"}, "weights: nf4 are multiplied in bfloat16"),
        ({"rounding": "master"}, "rounding is read where bfloat16 weights are trained"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(train, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**({"adapter": "lora"} | NF4 | train))


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ({"engine": "vllm"}, "quantization: nf4 is that of transformers and bitsandbytes; set engine: hf"),
        ({"engine": "hf", "dtype": "float32"}, "quantization: nf4 multiplies in bfloat16"),
    ],
)
def test_engines_that_cannot_are_refused(engine, message):
    with pytest.raises(ValueError, match=message):
        EngineConfig(quantization="nf4", **engine)


@pytest.mark.parametrize(
    ("train", "reference", "message"),
    [
        ({"adapter": "lora"} | NF4, {}, "the reference is that very model.*reference: {engine: hf, quantization: nf4}"),
        ({}, {"engine": "hf", "quantization": "nf4"}, "the policy would start from another model"),
    ],
)
def test_a_reference_of_other_weights_than_the_policys_is_refused(train, reference, message):
    document = {"name": "run", "model": "demo", "events": {"inputs": ["log.jsonl"]}}
    config = build_config(document | {"train": train, "reference": reference}, origin="test")
    with pytest.raises(ConfigError, match=message):
        check_methods(config)


def test_pairs_are_evaluated_on_four_bits_where_that_is_asked_for(tmp_path):
    engine = PairScoring(engine="hf", quantization="nf4").options(tmp_path).engine
    assert (engine.engine, engine.quantization) == ("hf", "nf4")
    assert PairScoring().options(tmp_path).engine.quantization is None

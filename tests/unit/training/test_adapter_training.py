"""Adapters in training: what they leave alone, what they resume to, and what is written of them."""

import json
import sys

import pytest
import torch
from transformers import LlamaForCausalLM

from tests.interruption import run_until
from tests.tiny import save_tiny_model
from tests.unit.training.test_trainer import config, objective, pairs, run_config, sequence
from thumbline.pipeline.config import TrainConfig
from thumbline.pipeline.engines.adapters import merge_adapter, resolve_adapted
from thumbline.pipeline.errors import ConfigError, MissingDependencyError
from thumbline.pipeline.training.adapters import Base, with_adapter
from thumbline.pipeline.training.checkpoints import load_checkpoint, save_model, trained_weights
from thumbline.pipeline.training.policy import load_policy
from thumbline.pipeline.training.trainer import Trainer

pytest.importorskip("peft", reason="peft is not installed")

BFLOAT16 = {"weights": "bfloat16", "dtype": "bfloat16"}
BATCH = [sequence(1), sequence(2, completion=9)]


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


def settings(**other):
    return config(**({"adapter": "lora", "learning_rate": 1e-2, "lora": {"rank": 4}} | other))


def policy_of(model_dir, train):
    policy = load_policy(
        model_dir, device="cpu", dtype=train.dtype, gradient_checkpointing=False, weights=train.weights
    )
    return policy if train.adapter == "none" else with_adapter(policy, train)


def logps(policy):
    with torch.no_grad():
        return policy.logps(BATCH).logps


def trained(model_dir, folder, train, stop_after=None):
    """The trained policy and its log."""
    folder.mkdir(exist_ok=True)
    policy, rows = policy_of(model_dir, train), pairs(10)
    trainer = Trainer(policy, objective("dpo", train.micro_batch_rows), train, rows, rows[:2], folder)
    return policy, run_until(trainer, stop_after)


@pytest.mark.parametrize("types", [{}, {"dtype": "bfloat16"}, BFLOAT16], ids=["float32", "autocast", "bfloat16"])
@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_an_untrained_adapter_is_the_model_itself(model_dir, kind, types):
    adapted, plain = settings(adapter=kind, **types), settings(adapter=kind, **types)
    base = load_policy(model_dir, device="cpu", dtype=plain.dtype, gradient_checkpointing=False, weights=plain.weights)
    assert torch.equal(logps(policy_of(model_dir, adapted)), logps(base))


def test_what_is_trained_is_float32_and_all_else_is_frozen(model_dir):
    policy = policy_of(model_dir, settings(adapter="dora", **BFLOAT16))
    weights = trained_weights(policy.model)
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    assert all("lora_" in name for name in weights)
    frozen = [weight for weight in policy.model.parameters() if not weight.requires_grad]
    assert {weight.dtype for weight in frozen} == {torch.bfloat16}


@pytest.mark.parametrize("types", [{}, BFLOAT16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_an_adapter_resumes_to_the_same_weights(model_dir, tmp_path, kind, types):
    train = settings(adapter=kind, **types)
    calm, calm_log = trained(model_dir, tmp_path / "calm", train)
    trained(model_dir, tmp_path / "stormy", train, stop_after=3)
    checkpoint = load_checkpoint(tmp_path / "stormy")
    assert checkpoint.step == 2
    assert set(checkpoint.model) == set(trained_weights(calm.model))
    stormy, stormy_log = trained(model_dir, tmp_path / "stormy", train)
    assert stormy_log == calm_log
    ours, theirs = stormy.model.state_dict(), calm.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_training_moves_the_adapter_alone(model_dir, tmp_path):
    before = policy_of(model_dir, settings()).model.state_dict()
    after = trained(model_dir, tmp_path / "run", settings())[0].model.state_dict()
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert moved
    assert all("lora_" in name for name in moved)


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_merged_or_alone_the_folder_is_the_policy(model_dir, tmp_path, kind):
    train, base = settings(adapter=kind), Base(str(model_dir), None)
    policy, _ = trained(model_dir, tmp_path / "run", train)
    expected, untrained = logps(policy), logps(policy_of(model_dir, train))
    assert not torch.equal(expected, untrained)
    save_model(policy, model_dir, tmp_path / "adapter", base)
    adapted = resolve_adapted(str(tmp_path / "adapter"))
    assert (adapted.model_dir, adapted.adapter) == (model_dir, tmp_path / "adapter")
    plain = policy_of(model_dir, settings(adapter="none", lora={}))
    merge_adapter(plain.model, adapted.adapter)
    torch.testing.assert_close(logps(plain), expected, atol=1e-4, rtol=1e-5)
    save_model(policy, model_dir, tmp_path / "merged")
    whole = policy_of(tmp_path / "merged", settings(adapter="none", lora={}))
    torch.testing.assert_close(logps(whole), expected, atol=1e-4, rtol=1e-5)
    assert (tmp_path / "merged" / "tokenizer.json").is_file()
    assert "lora" not in " ".join(LlamaForCausalLM.from_pretrained(tmp_path / "merged").state_dict())


def test_a_bfloat16_base_is_merged_in_the_type_that_is_written(model_dir, tmp_path):
    policy, _ = trained(model_dir, tmp_path / "run", settings(**BFLOAT16))
    save_model(policy, model_dir, tmp_path / "merged")
    weights = LlamaForCausalLM.from_pretrained(tmp_path / "merged").state_dict()
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    projection = weights["model.layers.0.mlp.up_proj.weight"]
    assert not torch.equal(projection, projection.bfloat16().float())


def test_an_adapters_settings_are_written_in_one_order(model_dir, tmp_path):
    policy = policy_of(model_dir, settings())
    save_model(policy, model_dir, tmp_path / "adapter", Base("someone/model", "v2"))
    written = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert written["target_modules"] == sorted(written["target_modules"])
    assert "lm_head" not in written["target_modules"]
    assert (written["base_model_name_or_path"], written["revision"]) == ("someone/model", "v2")
    assert (written["r"], written["lora_alpha"], written["lora_dropout"]) == (4, 32.0, 0.0)


KNOBS = {
    "adapter": {"adapter": "dora"},
    "rank": {"lora": {"rank": 2}},
    "alpha": {"lora": {"rank": 4, "alpha": 4}},
    "use_rslora": {"lora": {"rank": 4, "use_rslora": True}},
    "target_modules": {"lora": {"rank": 4, "target_modules": ["q_proj", "v_proj"]}},
    "weights": BFLOAT16,
    "seed of the first weights": {"seed": 1},
}


@pytest.mark.parametrize("knob", KNOBS)
def test_a_knob_changes_what_is_trained(model_dir, tmp_path, knob):
    usual = settings(dtype="bfloat16") if knob == "weights" else settings()
    ours = [trained(model_dir, tmp_path / name, one)[0] for name, one in (("a", usual), ("b", settings(**KNOBS[knob])))]
    assert not torch.equal(logps(ours[0]), logps(ours[1]))


def test_torchs_own_generator_is_left_alone(model_dir):
    before = torch.get_rng_state()
    first = trained_weights(policy_of(model_dir, settings()).model)
    assert torch.equal(torch.get_rng_state(), before)
    again = trained_weights(policy_of(model_dir, settings()).model)
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_layers_that_a_model_has_not_are_refused(model_dir):
    with pytest.raises(ConfigError, match="train.lora: peft cannot put an adapter into this model: .*q_prj"):
        policy_of(model_dir, settings(lora={"target_modules": ["q_prj"]}))


@pytest.mark.parametrize("layer", ["lm_head", "embed_tokens"])
def test_head_and_embeddings_are_refused(model_dir, layer):
    with pytest.raises(ConfigError, match="target_modules names the head or the embeddings"):
        policy_of(model_dir, settings(lora={"target_modules": ["q_proj", layer]}))


def test_without_peft_the_command_that_installs_it_is_said(model_dir, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingDependencyError, match=r"train.adapter: lora .* pip install 'thumbline\[adapters\]'"):
        policy_of(model_dir, settings())


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"save": "adapter"}, "are read with adapter: lora or dora"),
        ({"lora": {"rank": 2}}, "are read with adapter: lora or dora"),
        ({"adapter": "lora", "weights": "bfloat16", "dtype": "float32"}, "set dtype: bfloat16, or weights: float32"),
        ({"adapter": "lora", "lora": {"rank": 0}}, "greater than or equal to 1"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(train, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**train)


def test_an_adapter_on_top_of_another_is_not_written_alone():
    train = {"adapter": "lora", "save": "adapter"}
    with pytest.raises(ConfigError, match="would name a base that is not on disk"):
        run_config(train, reference={"adapter": "somewhere"})

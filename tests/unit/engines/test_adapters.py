"""LoRA adapters: found, named by content, merged into the weights; what is not plain needs peft."""

import json
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tests.engine_inputs import random_sequences
from tests.tiny import save_lora, save_tiny_model
from thumbline.pipeline.config import EngineConfig
from thumbline.pipeline.engines.adapters import (
    adapter_digest,
    adapter_rank,
    changes_head,
    merge_adapter,
    resolve_adapter,
)
from thumbline.pipeline.engines.hf import HFEngine
from thumbline.pipeline.engines.scoring import Scorer
from thumbline.pipeline.errors import EngineError, InputError

WEIGHT = "model.layers.1.mlp.down_proj.weight"
MODULES = ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def _without_peft(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)


@pytest.fixture
def adapter(model, tmp_path):
    return save_lora(tmp_path / "adapter", model, MODULES)


def change_settings(folder, **settings):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


@pytest.mark.parametrize(
    ("settings", "scale"),
    [
        ({}, 2.0),  # alpha 8 over rank 4
        ({"use_rslora": True}, 4.0),  # alpha 8 over the root of rank 4
        ({"alpha_pattern": {"q_proj": 2}}, 0.5),
    ],
)
def test_a_weight_gets_the_scaled_product_and_the_others_stay(model, adapter, settings, scale):
    change_settings(adapter, **settings)
    before, merged = load(model).state_dict(), merge_adapter(load(model), adapter).state_dict()
    tensors = load_file(adapter / "adapter_model.safetensors")
    name = f"base_model.model.{MODULES[0]}"
    product = tensors[f"{name}.lora_B.weight"] @ tensors[f"{name}.lora_A.weight"]
    found = merged[f"{MODULES[0]}.weight"] - before[f"{MODULES[0]}.weight"]
    assert torch.allclose(found, scale * product, atol=1e-6)
    changed = [key for key in before if not torch.equal(before[key], merged[key])]
    assert changed == [f"{module}.weight" for module in MODULES]


def test_transformers_scores_as_the_merged_model_does(model, adapter, tmp_path):
    entries = random_sequences(6, 200)
    merge_adapter(load(model), adapter).save_pretrained(tmp_path / "merged")
    config = EngineConfig(engine="hf", dtype="float32")
    expected = HFEngine(tmp_path / "merged", config).score(entries)
    assert HFEngine(model, config.model_copy(update={"adapter": str(adapter)})).score(entries) == expected
    assert HFEngine(model, config).score(entries) != expected


def test_the_adapters_content_is_part_of_the_key(model, adapter, tmp_path):
    def key(**settings):
        return Scorer(model, EngineConfig(engine="hf", **settings), "store").key("transformers")

    with_it = key(adapter=str(adapter))
    assert with_it["adapter"] == adapter_digest(adapter)
    assert {name: value for name, value in with_it.items() if name != "adapter"} == key()
    other = save_lora(tmp_path / "other", model, MODULES, seed=1)
    assert key(adapter=str(other)) != with_it
    change_settings(adapter, lora_alpha=16)
    assert key(adapter=str(adapter)) != with_it


@pytest.mark.parametrize(("settings", "room"), [({}, 8), ({"rank_pattern": {"q_proj": 40}}, 64), ({"r": 512}, 512)])
def test_vllm_gets_room_for_the_largest_rank(adapter, settings, room):
    change_settings(adapter, **settings)
    assert adapter_rank(adapter) == room


def test_an_adapter_of_the_head_is_seen(model, adapter, tmp_path):
    assert not changes_head(adapter)
    assert changes_head(save_lora(tmp_path / "head", model, ("lm_head",)))


def test_what_cannot_be_used_is_refused_with_its_reason(model, adapter, tmp_path):
    with pytest.raises(InputError, match="no adapter_config.json and no adapter_model.safetensors"):
        resolve_adapter(str(model))
    with pytest.raises(InputError, match="is no folder here, and no hub repository"):
        resolve_adapter("/no/such/folder")
    change_settings(adapter, r=513)
    with pytest.raises(InputError, match="rank 513; vLLM takes at most 512"):
        adapter_rank(adapter)
    (adapter / "adapter_config.json").write_text("[]")
    with pytest.raises(InputError, match="no settings file of a LoRA adapter"):
        adapter_rank(adapter)


@pytest.mark.parametrize("settings", [{"use_dora": True}, {"bias": "all"}, {"peft_type": "IA3"}])
def test_another_kind_of_adapter_needs_peft(model, adapter, settings):
    change_settings(adapter, **settings)
    with pytest.raises(EngineError, match="not a plain LoRA adapter.*Install peft"):
        merge_adapter(load(model), adapter)


def test_peft_merges_what_the_plain_way_merges(model, adapter, monkeypatch):
    plain = merge_adapter(load(model), adapter)
    monkeypatch.delitem(sys.modules, "peft")
    pytest.importorskip("peft", reason="peft is not installed")
    merged = merge_adapter(load(model), adapter)
    found = merged.state_dict()
    assert list(found) == list(plain.state_dict())
    assert all(torch.allclose(found[name], weight, atol=1e-6) for name, weight in plain.state_dict().items())
    assert all(weight.requires_grad for weight in merged.parameters())


def test_peft_merges_another_kind_of_adapter(model, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "peft")
    peft = pytest.importorskip("peft", reason="peft is not installed")
    settings = peft.LoraConfig(r=2, target_modules=["down_proj"], use_dora=True, init_lora_weights=False)
    torch.manual_seed(0)
    adapted = peft.get_peft_model(load(model), settings)
    adapted.save_pretrained(tmp_path / "dora")
    expected = adapted.merge_and_unload().state_dict()
    merged = merge_adapter(load(model), tmp_path / "dora")
    assert all(torch.allclose(merged.state_dict()[name], weight, atol=1e-6) for name, weight in expected.items())
    assert not torch.equal(merged.state_dict()[WEIGHT], load(model).state_dict()[WEIGHT])
    assert all(weight.requires_grad for weight in merged.parameters())


def test_an_adapter_of_another_model_is_refused(model, adapter):
    path = adapter / "adapter_model.safetensors"
    save_file({name.replace("layers.1", "layers.9"): value for name, value in load_file(path).items()}, path)
    with pytest.raises(EngineError, match=r"changes model.layers.9.mlp.down_proj, which this model has not"):
        merge_adapter(load(model), adapter)

"""LoRA adapters become whole models: the merged weights by hand, and what is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.tiny import save_tiny_model
from thumbline.pipeline.errors import InputError
from thumbline.pipeline.evaluation.adapters import merged_model, resolve_any_model

RANK = 2
LAYERS = ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("THUMBLINE_CACHE", str(tmp_path / "cache"))


def matrices(base, seed=0):
    """A and B of each layer in `LAYERS`, by the names that the library peft gives them."""
    weights = load_file(base / "model.safetensors")
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for layer in LAYERS:
        out, into = weights[f"{layer}.weight"].shape
        found[f"base_model.model.{layer}.lora_A.weight"] = torch.randn(RANK, into, generator=generator)
        found[f"base_model.model.{layer}.lora_B.weight"] = torch.randn(out, RANK, generator=generator)
    return found


def save_adapter(folder, base, tensors=None, **settings):
    folder.mkdir(exist_ok=True)
    document = {"peft_type": "LORA", "base_model_name_or_path": str(base), "r": RANK, "lora_alpha": 8, "bias": "none"}
    layers = "|".join(LAYERS).replace(".", r"\.")
    document |= {"target_modules": f"({layers})", "task_type": "CAUSAL_LM"} | settings
    (folder / "adapter_config.json").write_text(json.dumps(document))
    save_file(matrices(base) if tensors is None else tensors, folder / "adapter_model.safetensors")
    return folder


@pytest.mark.parametrize(("settings", "scale"), [({}, 8 / 2), ({"use_rslora": True}, 8 / 2**0.5)])
def test_the_scaled_product_is_added_to_each_adapted_weight_and_to_no_other(base, tmp_path, settings, scale):
    merged = merged_model(save_adapter(tmp_path / "adapter", base, **settings))
    before = AutoModelForCausalLM.from_pretrained(base).state_dict()
    after = AutoModelForCausalLM.from_pretrained(merged).state_dict()
    parts = matrices(base)
    for name, weight in after.items():
        layer = name.removesuffix(".weight")
        expected = before[name]
        if layer in LAYERS:
            a, b = (parts[f"base_model.model.{layer}.lora_{side}.weight"] for side in "AB")
            expected = expected + scale * (b @ a)
        torch.testing.assert_close(weight, expected, rtol=0, atol=1e-5)
    assert AutoTokenizer.from_pretrained(merged).chat_template == AutoTokenizer.from_pretrained(base).chat_template


def test_an_adapter_is_merged_once_and_again_where_it_changed(base, tmp_path):
    first = resolve_any_model(str(save_adapter(tmp_path / "adapter", base)))
    stamp = (first / "config.json").stat().st_mtime_ns
    again = resolve_any_model(str(tmp_path / "adapter"))
    assert again == first and (again / "config.json").stat().st_mtime_ns == stamp
    changed = resolve_any_model(str(save_adapter(tmp_path / "adapter", base, matrices(base, seed=1))))
    assert changed != first
    assert not list(first.parent.glob("*.partial*"))


def test_a_whole_model_is_its_own_folder(base):
    assert resolve_any_model(str(base)) == base


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"use_dora": True}, r"no plain LoRA adapter \(use_dora\)"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"rank_pattern": {"q_proj": 4}}, "rank_pattern"),
        ({"bias": "all"}, "bias"),
        ({"peft_type": "IA3"}, "peft_type IA3"),
        ({"base_model_name_or_path": None}, "names no base_model_name_or_path"),
    ],
)
def test_an_adapter_that_is_more_than_two_matrices_a_layer_is_refused(base, tmp_path, settings, message):
    with pytest.raises(InputError, match=message):
        merged_model(save_adapter(tmp_path / "adapter", base, **settings))


@pytest.mark.parametrize(
    ("rename", "message"),
    [
        (("layers.0", "layers.9"), "1 matrices of .* belong to no weight of its base"),
        (("q_proj.lora_B", "k_proj.lora_B"), "without its lora_B"),
        (("q_proj.lora_A.weight", "q_proj.lora_magnitude_vector"), "no matrix of a plain LoRA"),
        (("q_proj.lora_B.weight", "q_proj.lora_B.bias"), "no matrix of a plain LoRA|without its lora_B"),
        (("q_proj.", "k_proj."), "does not fit its base .* has another shape"),
    ],
)
def test_an_adapter_of_another_model_is_refused(base, tmp_path, rename, message):
    tensors = {name.replace(*rename): tensor for name, tensor in matrices(base).items()}
    with pytest.raises(InputError, match=message):
        merged_model(save_adapter(tmp_path / "adapter", base, tensors))
    assert not list((tmp_path / "cache").glob("merged/*"))


def test_a_cut_file_is_refused(base, tmp_path):
    adapter = save_adapter(tmp_path / "adapter", base)
    weights = adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match="not readable as safetensors"):
        merged_model(adapter)


def test_peft_merges_the_same_weights(base, tmp_path):
    peft = pytest.importorskip("peft", reason="peft is not installed")
    adapter = save_adapter(tmp_path / "adapter", base)
    model = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(adapter)).merge_and_unload()
    ours = AutoModelForCausalLM.from_pretrained(merged_model(adapter)).state_dict()
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(ours[name], weight, rtol=0, atol=1e-5)

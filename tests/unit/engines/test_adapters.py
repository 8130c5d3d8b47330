"""LoRA adapters: found, named by content, and merged by peft; the same weights wherever an adapter is named."""

import json
import sys

import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tests.engine_inputs import random_sequences
from tests.tiny import save_lora, save_tiny_model
from tests.unit.importers.logs import message
from thumbline.pipeline.config import EngineConfig, SequencesConfig
from thumbline.pipeline.context import SilentReporter
from thumbline.pipeline.engines.adapters import (
    adapter_digest,
    adapter_rank,
    changes_head,
    merge_adapter,
    resolve_adapted,
    resolve_adapter,
)
from thumbline.pipeline.engines.hf import HFEngine
from thumbline.pipeline.engines.scoring import Scorer
from thumbline.pipeline.errors import EngineError, InputError, MissingDependencyError
from thumbline.pipeline.evaluation.rows import PairRows
from thumbline.pipeline.evaluation.scoring import ScoringOptions, score_pairs
from thumbline.pipeline.tables import MESSAGES

peft = pytest.importorskip("peft", reason="peft is not installed")

MODULES = ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj")
KINDS = {
    "plain": {},
    "rank_pattern": {"rank_pattern": {"q_proj": 3}, "alpha_pattern": {"q_proj": 5}},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "bias": {"bias": "lora_only"},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = save_tiny_model(tmp_path_factory.mktemp("model"))
    # With biases, which an adapter may change as well.
    load(folder, attention_bias=True).save_pretrained(folder)
    return folder


@pytest.fixture
def adapter(model, tmp_path):
    return save_lora(tmp_path / "adapter", model, MODULES)


def change_settings(folder, **settings):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def change_names(folder, old, new):
    path = folder / "adapter_model.safetensors"
    save_file({name.replace(old, new): tensor for name, tensor in load_file(path).items()}, path)


def load(folder, **settings):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **settings)


def save_by_peft(folder, model_dir, **settings):
    """An adapter of random weights as peft itself saves it."""
    config = peft.LoraConfig(
        r=2, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM", init_lora_weights=False, **settings
    )
    base = load(model_dir)
    base.name_or_path = str(model_dir)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        adapted = peft.get_peft_model(base, config)
        for name, weight in adapted.named_parameters():
            if name.endswith("bias") and weight.requires_grad:
                torch.nn.init.normal_(weight)
        adapted.save_pretrained(folder)
    change_settings(folder, base_model_name_or_path=str(model_dir))
    return folder


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
    difference = merged[f"{MODULES[0]}.weight"] - before[f"{MODULES[0]}.weight"]
    assert torch.allclose(difference, scale * product, atol=1e-6)
    changed = [key for key in before if not torch.equal(before[key], merged[key])]
    assert changed == [f"{module}.weight" for module in MODULES]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_adapter_is_the_model_that_peft_runs_with_it(model, tmp_path, kind):
    folder = save_by_peft(tmp_path / kind, model, **KINDS[kind])
    token_ids = torch.arange(1, 40)[None]
    with torch.no_grad():
        expected = peft.PeftModel.from_pretrained(load(model), folder)(token_ids).logits
        merged = merge_adapter(load(model), folder)
        assert torch.allclose(merged(token_ids).logits, expected, atol=1e-5)
        assert not torch.allclose(load(model)(token_ids).logits, expected, atol=1e-3)
    assert list(merged.state_dict()) == list(load(model).state_dict())
    assert all(weight.requires_grad for weight in merged.parameters())


def pair_rows():
    texts = {"prompt": ("a", "b"), "chosen": ("yes", "no thanks"), "rejected": ("no", "maybe so")}
    columns = {
        name: pl.Series([[message("user" if name == "prompt" else "assistant", text)] for text in pair], dtype=MESSAGES)
        for name, pair in texts.items()
    }
    frame = pl.DataFrame(
        {
            "pair_id": ["p0", "p1"],
            "group_id": ["g0", "g1"],
            "tools": pl.Series([None, None], dtype=pl.String),
            **columns,
        }
    )
    return PairRows(frame, "trl", (), "digest", 2, 0, {})


@pytest.mark.parametrize("kind", KINDS)
def test_an_evaluated_adapter_is_scored_as_the_reference_with_it(model, tmp_path, kind):
    folder = save_by_peft(tmp_path / kind, model, **KINDS[kind])
    merge_adapter(load(model), folder).save_pretrained(tmp_path / "merged")
    config = EngineConfig(engine="hf", dtype="float32")
    options = ScoringOptions(config, SequencesConfig(template="plain"), tmp_path / "store")
    named = score_pairs(pair_rows(), [str(folder), str(model)], None, options, SilentReporter())
    adapted = named.frame.filter(pl.col("model") == kind)
    assert adapted["policy_chosen_logps"].is_finite().all()
    assert not adapted["policy_chosen_logps"].equals(named.frame.filter(pl.col("model") != kind)["policy_chosen_logps"])
    # What `reference.adapter` keeps is what `-m ADAPTER` wrote, under one key: nothing is left to score.
    with_adapter = config.model_copy(update={"adapter": str(folder)})
    key = Scorer(model, with_adapter, str(tmp_path / "store")).key("transformers")
    stored = {path.parent.name for path in (tmp_path / "store").rglob("*.parquet")}
    assert named.models[kind]["store_key"] in stored
    assert named.models[kind]["store_key"] == next(
        store.name for store in Scorer(model, with_adapter, str(tmp_path / "store")).stores().values()
    )
    assert key["adapter"] == adapter_digest(folder)
    entries = random_sequences(6, 200)
    assert HFEngine(model, with_adapter).score(entries) == HFEngine(tmp_path / "merged", config).score(entries)


def test_two_adapters_of_one_base_have_digests_of_their_own(model, adapter, tmp_path):
    other = save_lora(tmp_path / "other", model, MODULES, seed=1)
    options = ScoringOptions(EngineConfig(engine="hf"), SequencesConfig(template="plain"), tmp_path / "store")
    scored = score_pairs(pair_rows(), [str(adapter), str(other), str(model)], None, options, SilentReporter())
    assert len({notes["model"] for notes in scored.models.values()}) == 3


def test_the_adapters_content_and_its_merger_are_part_of_the_key(model, adapter, tmp_path):
    def key(**settings):
        return Scorer(model, EngineConfig(engine="hf", **settings), "store").key("transformers")

    with_it = key(adapter=str(adapter))
    assert with_it["adapter"] == adapter_digest(adapter)
    assert with_it["merger"] == f"peft {peft.__version__}"
    assert {name: value for name, value in with_it.items() if name not in ("adapter", "merger")} == key()
    other = save_lora(tmp_path / "other", model, MODULES, seed=1)
    assert key(adapter=str(other)) != with_it
    change_settings(adapter, lora_alpha=16)
    assert key(adapter=str(adapter)) != with_it


def test_a_name_means_a_model_or_an_adapter_with_its_base(model, adapter):
    assert resolve_adapted(str(model)) == (model, None, model)
    assert resolve_adapted(str(adapter)) == (model, adapter, model)
    (adapter / "tokenizer_config.json").write_text("{}")
    assert resolve_adapted(str(adapter)).tokenizer_dir == adapter
    change_settings(adapter, base_model_name_or_path=None)
    with pytest.raises(InputError, match="names no base_model_name_or_path"):
        resolve_adapted(str(adapter))


@pytest.mark.parametrize(("settings", "room"), [({}, 8), ({"rank_pattern": {"q_proj": 40}}, 64), ({"r": 512}, 512)])
def test_vllm_gets_room_for_the_largest_rank(adapter, settings, room):
    change_settings(adapter, **settings)
    assert adapter_rank(adapter) == room


def test_an_adapter_of_the_head_is_seen_and_not_merged_where_embeddings_share_it(model, adapter, tmp_path):
    assert not changes_head(adapter)
    head = save_lora(tmp_path / "head", model, ("lm_head",))
    assert changes_head(head)
    with pytest.raises(EngineError, match="the head or the embeddings, which are one matrix in this model"):
        merge_adapter(load(model), head)


def test_what_cannot_be_used_is_refused_with_its_reason(model, adapter):
    with pytest.raises(InputError, match="no adapter_config.json and no adapter_model.safetensors"):
        resolve_adapter(str(model))
    with pytest.raises(InputError, match="is no folder here, and no hub repository"):
        resolve_adapter("/no/such/folder")
    change_settings(adapter, r=513)
    with pytest.raises(InputError, match="rank 513; vLLM takes at most 512"):
        adapter_rank(adapter)
    change_settings(adapter, peft_type="IA3")
    with pytest.raises(InputError, match="is a IA3 adapter; LoRA adapters are what can be used"):
        merge_adapter(load(model), adapter)
    (adapter / "adapter_config.json").write_text("[]")
    with pytest.raises(
        InputError, match=r"adapter_config\.json: no JSON object, so the model's settings cannot be read"
    ):
        adapter_rank(adapter)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("layers.1", "layers.9", r"2 of its tensors belong to no weight of the model .*layers\.9"),
        ("q_proj.lora_B", "k_proj.lora_B", "1 of its tensors belong to no weight of the model"),
        ("q_proj.lora_A.weight", "q_proj.lora_magnitude_vector", "belong to no weight of the model"),
    ],
)
def test_an_adapter_of_another_model_is_refused(model, adapter, old, new, message):
    change_names(adapter, old, new)
    with pytest.raises(EngineError, match=message):
        merge_adapter(load(model), adapter)


def test_an_adapter_of_another_size_or_other_layers_is_refused(model, adapter):
    change_settings(adapter, target_modules=["no_such_layer"])
    with pytest.raises(EngineError, match="does not fit the model.*no_such_layer"):
        merge_adapter(load(model), adapter)
    change_settings(adapter, target_modules=list(MODULES), r=3)
    with pytest.raises(EngineError, match="does not fit the model.*size mismatch for base_model.*q_proj"):
        merge_adapter(load(model), adapter)


def test_an_adapter_without_some_of_its_weights_is_refused(model, adapter):
    path = adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    save_file({name: tensor for name, tensor in tensors.items() if "q_proj.lora_B" not in name}, path)
    with pytest.raises(EngineError, match="holds no weights for 1 of the tensors that its settings name"):
        merge_adapter(load(model), adapter)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="not readable as safetensors"):
        merge_adapter(load(model), adapter)
    path.unlink()
    with pytest.raises(InputError, match="holds no adapter_model.safetensors"):
        resolve_adapted(str(adapter))


def test_without_peft_the_command_that_installs_it_is_said(model, adapter, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'thumbline\[adapters\]'"):
        merge_adapter(load(model), adapter)

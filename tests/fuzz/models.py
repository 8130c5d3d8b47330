"""Folders of models and adapters, damaged: looked at, loaded and scored with, or refused in words."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from tests.engine_inputs import random_sequences
from tests.fuzz.cases import Case, Outcome
from tests.fuzz.operators import VALUES, chance, pick, text_of, wounded
from tests.fuzz.refusing import refused
from tests.tiny import save_lora, save_tiny_model
from thumbline.pipeline.config import EngineConfig
from thumbline.pipeline.engines.adapters import adapter_digest, adapter_rank, resolve_adapted, resolve_adapter
from thumbline.pipeline.engines.encoding import load_encoder
from thumbline.pipeline.engines.ending import context_tokens, end_token_ids
from thumbline.pipeline.engines.hf import HFEngine
from thumbline.pipeline.engines.models import check_chat_template, check_model, has_soft_caps, model_digest

_FLAT: Final = "__"
# Stands in an adapter's settings for the folder in which its model lies.
_PLACE: Final = b"<the case's folder>"
_MODULES: Final = ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj")
_QUESTION: Final[Any] = {"role": "user", "content": "When do I plant beans?", "extra": None}
_ADAPTER: Final = (
    "peft_type", "r", "lora_alpha", "target_modules", "bias", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora",
    "modules_to_save", "base_model_name_or_path", "task_type", "layers_to_transform", "fan_in_fan_out", "revision",
    "layer_replication", "exclude_modules", "auto_mapping", "eva_config", "init_lora_weights", "megatron_config",
    "unknown", "trainable_token_indices", "lora_bias", "corda_config", "target_parameters",
)  # fmt: skip
_ADAPTER_VALUES: Final = (
    0, 1, -1, 4, 5, 1e9, 1.5, "4", "", None, True, [], {}, ["q_proj"], "all-linear", ".*", "(", {"q_proj": 3}, ["none"],
    {"q_proj": "x"}, "LORA", "lora", "IA3", "none", "all", "lora_only", float("nan"), [0], [99], "../../etc",
)  # fmt: skip


class Models:
    """A tiny model and a LoRA adapter of it."""

    def __init__(self) -> None:
        with TemporaryDirectory() as place:
            model = save_tiny_model(Path(place) / "model")
            save_lora(Path(place) / "adapter", model, _MODULES)
            self._files = {
                _FLAT.join(path.relative_to(place).parts): path.read_bytes().replace(place.encode(), _PLACE)
                for path in sorted(Path(place).rglob("*"))
                if path.is_file()
            }

    def make(self, random: np.random.Generator) -> Case:
        """One file of other values or bytes."""
        small = [name for name in self._files if not name.endswith(".safetensors")]
        name = pick(random, [*["adapter__adapter_config.json"] * 3, *small, *self._files])
        data = self._files[name]
        if name.endswith(".json") and chance(random, 0.8):
            data = text_of(self._changed(name, json.loads(data), random), random)
        if data == self._files[name] or chance(random, 0.1):
            data = wounded(data, random)
        return Case({name: data})

    @staticmethod
    def _changed(name: str, document: dict[str, Any], random: np.random.Generator) -> dict[str, Any]:
        known = [*document, *_ADAPTER] if name.startswith("adapter") else [*document]
        for _ in range(int(random.integers(1, 3))):
            document[pick(random, known)] = pick(random, [*_ADAPTER_VALUES, *_ADAPTER_VALUES, *VALUES])
            if chance(random, 0.1):
                document.pop(pick(random, list(document)))
        return document

    def read(self, case: Case, folder: Path) -> Outcome:
        """Look at it as a run does before any work, then load it and score."""
        for name, data in (self._files | case.files).items():
            path = folder.joinpath(*name.split(_FLAT))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.replace(_PLACE, str(folder).encode()))
        told = [refused(lambda look=look: look(folder)) for look in (_looked, _adapter, _tokenized, _scored)]
        return "refused" if any(told) else "read"

    def settle(self) -> None:
        """Nothing is left."""


def _looked(folder: Path) -> None:
    model = folder / "model"
    check_model("model", str(model))
    check_chat_template(str(model))
    model_digest(model)
    has_soft_caps(model)


def _adapter(folder: Path) -> None:
    adapter = resolve_adapter(str(folder / "adapter"))
    adapter_digest(adapter)
    adapter_rank(adapter)
    resolve_adapted(str(adapter))


def _tokenized(folder: Path) -> None:
    encoder = load_encoder(folder / "model", "chat", 128, "drop")
    list(encoder.encode([[_QUESTION]], ["In May."]))
    assert all(isinstance(token, int) for token in end_token_ids(folder / "model", encoder))
    context_tokens(folder / "model")


def _scored(folder: Path) -> None:
    config = EngineConfig(engine="hf", dtype="float32", adapter=str(folder / "adapter"))
    engine = HFEngine(folder / "model", config)
    try:
        assert len(engine.score(random_sequences(2, vocabulary=200))) == 2
    finally:
        engine.close()

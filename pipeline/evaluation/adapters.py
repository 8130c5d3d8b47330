"""LoRA adapters as whole models: the product of their matrices is added to the base model's weights, once.

Every engine then scores the result like any model, and its log-probs are kept under its own weights' digest.
"""

import json
import math
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..engines.models import model_digest, resolve_model, tokenizer_digest
from ..errors import InputError
from ..storage.digests import cache_dir, cached_digest, digest_json

ADAPTER_CONFIG: Final = "adapter_config.json"
_WEIGHTS: Final = "adapter_model.safetensors"
_PREFIX: Final = "base_model.model."
_FIRST: Final = ".lora_A.weight"
_SECOND: Final = ".lora_B.weight"
# Settings under which an adapter is more than the product of two matrices a layer, by the value that is plain.
_PLAIN: Final[Mapping[str, object]] = {
    "bias": "none",
    "use_dora": False,
    "lora_bias": False,
    "modules_to_save": None,
    "layer_replication": None,
    "trainable_token_indices": None,
    "rank_pattern": {},
    "alpha_pattern": {},
}
_TOKENIZER_PATTERNS: Final = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt")


def resolve_any_model(model: str) -> Path:
    """The folder of a model; an adapter becomes the folder of its base with the adapter merged in.

    Args:
        model: `demo`, a folder, or a hub id, of a model or of a LoRA adapter.

    Raises:
        InputError: It is none of them, or an adapter that cannot be merged.
    """
    folder = Path(model)
    if not (folder / ADAPTER_CONFIG).is_file():
        folder = resolve_model(model)
    if (folder / "config.json").is_file() or not (folder / ADAPTER_CONFIG).is_file():
        return folder
    return merged_model(folder)


def merged_model(adapter: Path) -> Path:
    """The folder of the base model with the adapter in `adapter` merged in, made where it is not there yet.

    Source: Hu et al. (2021), section 4.1: W + (alpha / r) B A; alpha / sqrt(r) where the adapter says rsLoRA.

    Raises:
        InputError: The adapter is no plain LoRA, or does not fit its base model.
    """
    settings = _settings(adapter)
    base = resolve_model(str(settings["base_model_name_or_path"]), settings.get("revision"))
    own_tokenizer = (adapter / "tokenizer_config.json").is_file()
    key = digest_json(
        [
            model_digest(base),
            cached_digest(adapter / ADAPTER_CONFIG),
            cached_digest(adapter / _WEIGHTS),
            tokenizer_digest(adapter if own_tokenizer else base),
        ]
    )
    place = cache_dir() / "merged" / key
    if not (place / "config.json").is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f"{key}.partial-", dir=place.parent))
        try:
            _write_merged(base, adapter, settings, partial)
            for source in (base, *([adapter] if own_tokenizer else [])):
                _copy_tokenizer(source, partial)
            shutil.copy(base / "config.json", partial)
            _publish(partial, place)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return place


def _publish(partial: Path, place: Path) -> None:
    """Give the folder its name; of two processes that merged at once, the first does."""
    try:
        partial.replace(place)
    except OSError:
        if not (place / "config.json").is_file():
            raise


def _settings(adapter: Path) -> dict[str, Any]:
    try:
        settings = json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"model: {adapter / ADAPTER_CONFIG} is no JSON.") from error
    if not isinstance(settings, dict) or not settings.get("base_model_name_or_path"):
        raise InputError(f"model: {adapter / ADAPTER_CONFIG} names no base_model_name_or_path.")
    if not (adapter / _WEIGHTS).is_file():
        raise InputError(f"model: {adapter} holds no {_WEIGHTS}, so it is no LoRA adapter that can be read.")
    special = [name for name, plain in _PLAIN.items() if (settings.get(name) or plain) != plain]
    if settings.get("peft_type", "LORA") != "LORA":
        special.insert(0, f"peft_type {settings['peft_type']}")
    if special:
        raise InputError(
            f"model: {adapter} is no plain LoRA adapter ({', '.join(special)}). Merge it into its base model with the "
            f"library that made it, and give the folder of the merged model."
        )
    return settings


def _write_merged(base: Path, adapter: Path, settings: Mapping[str, Any], place: Path) -> None:
    scale = float(settings["lora_alpha"]) / (math.sqrt(settings["r"]) if settings.get("use_rslora") else settings["r"])
    products = _products(adapter, scale, transposed=bool(settings.get("fan_in_fan_out")))
    index: dict[str, str] = {}
    for number, path in enumerate(_shards(base)):
        tensors = _load(path)
        for name in sorted(products.keys() & tensors.keys()):
            product = products.pop(name)
            if product.shape != tensors[name].shape:
                raise InputError(f"model: {adapter} does not fit its base {base}: {name} has another shape.")
            # In float32, as the product of the small matrices is: their sum in bfloat16 would be rounded twice.
            tensors[name] = (tensors[name].float() + product).to(tensors[name].dtype)
        file = f"model-{number:05d}.safetensors"
        index |= dict.fromkeys(tensors, file)
        save_file(tensors, place / file, metadata={"format": "pt"})
    if products:
        raise InputError(
            f"model: {len(products)} matrices of {adapter} belong to no weight of its base {base} "
            f"(first: {min(products)}). Is it the adapter of another model?"
        )
    document = {"metadata": {}, "weight_map": index}
    (place / "model.safetensors.index.json").write_text(json.dumps(document), encoding="utf-8")


def _shards(base: Path) -> list[Path]:
    found = sorted(base.glob("*.safetensors"))
    if not found:
        raise InputError(f"model: the base model {base} holds no .safetensors weights to merge an adapter into.")
    return found


def _load(path: Path) -> dict[str, torch.Tensor]:
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise InputError(f"model: {path} is not readable as safetensors; is it whole?") from error


def _products(adapter: Path, scale: float, *, transposed: bool) -> dict[str, torch.Tensor]:
    """What is added to each weight of the base, by the weight's name."""
    tensors = _load(adapter / _WEIGHTS)
    found: dict[str, torch.Tensor] = {}
    for name in sorted(tensors):
        stem, mark, rest = name.removeprefix(_PREFIX).partition(_FIRST)
        if not mark or rest:
            if not name.endswith(_SECOND):
                raise InputError(f"model: {adapter / _WEIGHTS} holds {name}, which is no matrix of a plain LoRA.")
            continue
        other = tensors.get(name.replace(_FIRST, _SECOND))
        if other is None:
            raise InputError(f"model: {adapter / _WEIGHTS} holds {name} without its lora_B.")
        product = scale * (other.float() @ tensors[name].float())
        found[f"{stem}.weight"] = product.T if transposed else product
    return found


def _copy_tokenizer(source: Path, place: Path) -> None:
    for pattern in (*_TOKENIZER_PATTERNS, "chat_template.*", "*.model", "generation_config.json"):
        for path in source.glob(pattern):
            if path.is_file():
                shutil.copy(path, place)

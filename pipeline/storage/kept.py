"""What a finished stage wrote, held against its manifest whenever it is read: a damaged file is named, never used."""

from hashlib import sha256
from pathlib import Path
from typing import Final

from ..errors import InputError, TableError
from .attached import bring, lies_there
from .digests import cached_digest
from .files import writable_text, write_text
from .manifests import MANIFEST, Manifest, is_damaged, read_manifest

_HEADER: Final = "# sha256 of the lines below: "


def changed_files(stage_dir: Path, manifest: Manifest) -> list[str]:
    """Files of a stage whose bytes are not those that it wrote, or in whose place lies what is no file.

    What was deleted is not among them (`missing_outputs`), but for single files of a folder that is there.

    Args:
        stage_dir: The stage's folder.
        manifest: Its manifest.
    """
    found = []
    for name, digest in _digests(manifest).items():
        path = stage_dir / name
        if path.exists():
            found += [name] if _is_other(path, digest) else []
        elif path.parent != stage_dir and path.parent.exists() and not lies_there(path):
            found.append(name)
    return found


def check_kept(path: Path) -> None:
    """Refuse a file of a finished stage whose bytes are not those that the stage wrote; of others nothing is known.

    Its digest is computed once and kept by the file's identity (`cached_digest`). Of a run at an address the file is
    fetched first, where it is not here.

    Args:
        path: A table or another file. A stage's own folder is told by its manifest; a file that lies deeper in it is
            one of a folder to `check_kept_folder`.

    Raises:
        TableError: The file, or the manifest beside it, is damaged or was changed, or is no file any more.
    """
    bring(path)
    manifest = _manifest(path.parent)
    if manifest is None or not path.exists():
        return
    expected = _digests(manifest).get(path.name)
    if expected is not None and _is_other(path, expected):
        raise TableError(_refusal(path, manifest.stage))


def check_kept_folder(folder: Path) -> None:
    """Refuse a folder that a finished stage wrote, such as a trained model, where one of its files was changed.

    Args:
        folder: The folder; nothing is known of one that no stage wrote.

    Raises:
        TableError: A file in it, or the manifest beside it, is damaged, was changed or is gone.
    """
    bring(folder)
    stage_dir = folder.absolute().parent
    manifest = _manifest(stage_dir)
    if manifest is None or folder.name not in manifest.files:
        return
    changed = [name for name in changed_files(stage_dir, manifest) if name.startswith(f"{folder.name}/")]
    if changed:
        raise TableError(_refusal(stage_dir / changed[0], manifest.stage, len(changed) - 1))


def _is_other(path: Path, digest: str) -> bool:
    """Whether what lies there is no file, such as a folder or a pipe, or one of another digest."""
    return not path.is_file() or cached_digest(path) != digest


def trusted_manifest(stage_dir: Path) -> Manifest | None:
    """The manifest of a stage; None where the stage has not finished.

    Raises:
        TableError: One lies there that is damaged.
    """
    return _manifest(stage_dir)


def _manifest(stage_dir: Path) -> Manifest | None:
    manifest = read_manifest(stage_dir)
    if manifest is None and _is_run(stage_dir.parent) and is_damaged(stage_dir):
        raise TableError(
            f"{stage_dir / MANIFEST}: not as the stage wrote it, so nothing in this folder can be trusted. "
            f"`thumbline run` makes it again, or with --from {stage_dir.name}."
        )
    return manifest


def _is_run(folder: Path) -> bool:
    """Other tools write files of a manifest's name as well."""
    return all((folder / name).is_file() for name in ("config.yaml", ".lock"))


def _digests(manifest: Manifest) -> dict[str, str]:
    """SHA-256 of files by their path in the stage's folder."""
    return manifest.contents or {record.file: record.sha256 for record in manifest.outputs.values()}


def _refusal(path: Path, stage: str, others: int = 0) -> str:
    beside = f" (and {others} more beside it)" if others else ""
    return (
        f"{path}{beside}: its bytes are not those that stage '{stage}' wrote, by its manifest; the file is damaged or "
        f"was changed, and is not used. `thumbline run` with --from {stage} makes it again."
    )


def write_checked(path: Path, text: str) -> None:
    """Write `text` below a comment that holds its digest, atomically; see `check_text`."""
    text = writable_text(text)
    write_text(path, f"{_HEADER}{sha256(text.encode()).hexdigest()}\n{text}")


def check_text(path: Path) -> None:
    """Refuse a text that is not the one that `write_checked` wrote; nothing is known of one without a comment above.

    Raises:
        InputError: It is another text.
    """
    first, _, rest = path.read_bytes().partition(b"\n")
    if first.startswith(b"#") and first != f"{_HEADER}{sha256(rest).hexdigest()}".encode():
        raise InputError(
            f"{path}: not as it was written (damaged, or edited by hand). `thumbline run` with the run file writes it "
            f"again."
        )

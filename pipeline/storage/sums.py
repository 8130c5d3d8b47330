"""Digests of the files that one command wrote to a folder of the user's, in the form that `sha256sum -c` reads."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ..errors import InputError
from .digests import cached_digest, digest_file
from .files import write_text

SUMS: Final = "evaluation.sha256"


def forget_sums(folder: Path) -> None:
    """Delete the digests of what is about to be replaced."""
    (folder / SUMS).unlink(missing_ok=True)


def write_sums(folder: Path, names: Iterable[str]) -> None:
    """Write the digests of files in `folder`, once all of them are written."""
    write_text(folder / SUMS, "".join(f"{digest_file(folder / name)}  {name}\n" for name in sorted(names)))


def check_sums(paths: Iterable[Path]) -> None:
    """Refuse files whose bytes are not those that were written; nothing is known of a folder without digests.

    Raises:
        InputError: A file was changed, or is not among those that were written.
    """
    for path in paths:
        sums = path.parent / SUMS
        if not sums.is_file() or not path.is_file():
            continue
        lines = sums.read_bytes().decode("utf-8", "replace").splitlines()
        if f"{cached_digest(path)}  {path.name}" not in lines:
            raise InputError(
                f"{path}: its bytes are not those that the evaluation wrote, by {SUMS} beside it; it is damaged or "
                f"was changed. Evaluate again, or delete {SUMS} to use the files as they are."
            )

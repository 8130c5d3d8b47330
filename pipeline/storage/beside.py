"""What lies at a run's address beside the files of its stages: pages, the data set, and what was put aside of them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from .objects import Objects
from .set_aside import aside


def push_files(objects: Objects, folder: str, source: Path, names: Sequence[str]) -> None:
    """Upload files under their own names, in place of those that lie there.

    Args:
        objects: What lies at the address.
        folder: Below the address; empty for the run's own files.
        source: Where they lie here.
        names: Relative to both.
    """
    for name in names:
        objects.put(source / name, f"{folder}/{name}" if folder else name)


def push_folder(objects: Objects, source: Path, name: str) -> None:
    """Upload a folder, and delete what lies there under other names.

    Args:
        objects: What lies at the address.
        source: The folder.
        name: What it is called below the address.
    """
    names = visible_files(source)
    push_files(objects, name, source, names)
    objects.remove([f"{name}/{one}" for one in objects.sizes(name) if one not in names])


def visible_files(folder: Path) -> list[str]:
    """Files below a folder, sorted, by their paths in it; hidden ones, and those of hidden folders, are left out."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts))


def put_aside(objects: Objects, name: str, *, flat: bool) -> bool:
    """Give what lies at a name another one; whether anything lay there.

    Args:
        objects: What lies at the address.
        name: A file's, or a folder's.
        flat: Of the folder only what lies in it itself.
    """
    moved = False
    for old, new in _moves(objects, name, flat=flat):
        try:
            objects.copy(old, new)
        except FileNotFoundError:
            continue
        objects.remove([old])
        moved = True
    return moved


def _moves(objects: Objects, name: str, *, flat: bool) -> Iterator[tuple[str, str]]:
    before = aside(Path(name)).as_posix()
    if Path(name).suffix:
        yield name, before
        return
    for one in objects.sizes(name):
        if not flat or "/" not in one:
            yield f"{name}/{one}", f"{before}/{one}"


def forget_put_aside(objects: Objects, name: str) -> None:
    """Delete what was put aside of a name."""
    before = aside(Path(name)).as_posix()
    if Path(name).suffix:
        objects.remove([before])
    else:
        objects.remove([f"{before}/{one}" for one in objects.sizes(before)])

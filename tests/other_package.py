"""Somebody else's package, written to a folder as an installer would leave it there."""

from collections.abc import Mapping
from pathlib import Path


def write_package(
    folder: Path, name: str, points: Mapping[str, Mapping[str, str]], code: str = "", version: str = "1.0"
) -> Path:
    """A module `name` with `code`, and its metadata with entry points by group."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(code)
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups = (f"[{group}]\n" + "".join(f"{n} = {v}\n" for n, v in named.items()) for group, named in points.items())
    (info / "entry_points.txt").write_text("\n".join(groups))
    return folder

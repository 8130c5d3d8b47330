"""Files and folders made of tables that are gone: kept under another name, and so not taken for the new tables'."""

import shutil
from pathlib import Path

from .attached import forget_aside_there, set_aside_there
from .manifests import MANIFEST


def aside(path: Path) -> Path:
    """Where it is put: `data_report.html` becomes `data_report.before.html`, `report` becomes `report.before`."""
    return path.with_name(f"{path.stem}.before{path.suffix}")


def set_aside(path: Path) -> bool:
    """Put what lies at `path` aside, in place of what lay there from a time before; whether there was anything."""
    lay_there = set_aside_there(path)
    if not path.exists():
        return lay_there
    _forget(aside(path))
    # Without it nothing takes the folder for a stage's.
    if path.is_dir():
        (path / MANIFEST).unlink(missing_ok=True)
    path.replace(aside(path))
    return True


def forget_aside(path: Path) -> None:
    """Delete what was put aside, once something new lies at `path`."""
    forget_aside_there(path)
    _forget(aside(path))


def _forget(before: Path) -> None:
    if before.is_dir() and not before.is_symlink():
        shutil.rmtree(before)
    else:
        before.unlink(missing_ok=True)

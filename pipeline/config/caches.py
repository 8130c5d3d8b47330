"""Where what can be made again is kept on this machine: the user's cache, and in it the working folders of runs."""

import hashlib
import os
from pathlib import Path
from typing import Final

from ..hiding import bare_address

_NAME_CHARACTERS: Final = 16


def cache_dir() -> Path:
    """Where what can be made again is kept: `THUMBLINE_CACHE`, else `thumbline` in the user's cache folder."""
    own = os.environ.get("THUMBLINE_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "thumbline"


def working_folder(address: str) -> Path:
    """Where runs work whose folder lies at an address; the same whoever asks for it.

    Args:
        address: Of the folder of runs, such as `s3://bucket/runs`.
    """
    bare = bare_address(address).rstrip("/")
    return cache_dir() / "runs" / hashlib.sha256(bare.encode()).hexdigest()[:_NAME_CHARACTERS]

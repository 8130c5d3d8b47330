"""Small JSON files of our own whose first key is the digest of all others: a damaged one is none."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from .digests import digest_json
from .files import write_text

_CHECK: Final = "check"


def document_text(document: Mapping[str, Any]) -> str:
    """A document as its file holds it."""
    return json.dumps({_CHECK: digest_json(document), **document}, indent=2, ensure_ascii=False) + "\n"


def document_of(text: bytes) -> dict[str, Any] | None:
    """What a file's bytes hold; None where that is no document, or not as it was written."""
    try:
        document = json.loads(text.decode("utf-8"))
        # Older versions wrote none.
        check = document.pop(_CHECK, None)
        is_whole = check is None or check == digest_json(document)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    return document if is_whole else None


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """Write a document, atomically."""
    write_text(path, document_text(document))


def read_document(path: Path) -> dict[str, Any] | None:
    """What `write_document` wrote; None where there is no file, or it is not as it was written."""
    return document_of(path.read_bytes()) if path.is_file() else None

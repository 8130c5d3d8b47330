"""A small JSON file of ours is as it was written, or none."""

import pytest

from thumbline.pipeline.storage import documents

DOCUMENT = {"key": "k", "made": {"rows": 12, "said": ["été"], "share": 0.1}}


def test_a_document_comes_back_as_it_was(tmp_path):
    assert documents.read_document(tmp_path / "a.json") is None
    documents.write_document(tmp_path / "a.json", DOCUMENT)
    assert documents.read_document(tmp_path / "a.json") == DOCUMENT
    (tmp_path / "a.json").write_text('{"key": "k"}')
    assert documents.read_document(tmp_path / "a.json") == {"key": "k"}


@pytest.mark.parametrize("damaged", [b"", b"[1]", b"null", b"{", b"\xff", b"[" * 100_000, b'{"check": [], "key": 1}'])
def test_what_is_no_document_is_none(damaged):
    assert documents.document_of(damaged) is None


def test_a_changed_value_is_found():
    text = documents.document_text(DOCUMENT).encode()
    assert documents.document_of(text) == DOCUMENT
    assert documents.document_of(text.replace(b"12", b"13")) is None

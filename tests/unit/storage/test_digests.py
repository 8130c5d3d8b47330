"""Digests tell apart what differs, and only that."""

from thumbline.pipeline.storage import digests


def test_digests_tell_parts_apart():
    assert digests.digest_text("ab", "c") != digests.digest_text("a", "bc")
    assert digests.digest_json({"a": 1, "b": 2}) == digests.digest_json({"b": 2, "a": 1})

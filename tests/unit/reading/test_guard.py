"""One line at a time: what JSON readers let pass is named, and what is fine is left alone."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbline.pipeline.reading.guard import MAX_NESTING, decode_object
from thumbline.pipeline.reading.records import RowError


def nested(levels: int) -> bytes:
    return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a": 1', "broken_json"),
        (b'{"a": 1} x', "broken_json"),
        (b'{"a": NaN}', "broken_json"),
        (b'{"a": 01}', "broken_json"),
        (b'{"a": "\\x"}', "broken_json"),
        (b"[1]", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b"null", "not_an_object"),
        (b"7", "not_an_object"),
        (b'{"a": "\xff"}', "invalid_utf8"),
        (b'{"a": "\xed\xa0\x80"}', "invalid_utf8"),
        (b'{"\xff": 1}', "invalid_utf8"),
        (b'{"a": "\\ud800"}', "lone_surrogate"),
        (b'{"a": "\\uDC00 x"}', "lone_surrogate"),
        (b'{"a": "x\x00"}', "nul_character"),
        (b'{"a": "x\\u0000"}', "nul_character"),
        (b'{"a\\u0000": 1}', "nul_character"),
        (b'{"a": [{"b": "\\u0000"}]}', "nul_character"),
        (b'{"a": 1e400}', "number_out_of_range"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "number_out_of_range"),
        (b'{"a": 1, "a": 1}', "duplicate_key"),
        (b'{"a" : 1, "a": 2}', "duplicate_key"),
        (b'{"a"\t:1,"a":2}', "duplicate_key"),
        (b'{"a": 1, "\\u0061": 2}', "duplicate_key"),
        (b'{"a": {"b": 1, "c": [{"d": 1, "d": 2}]}}', "duplicate_key"),
        (nested(MAX_NESTING + 1), "nesting_too_deep"),
        (nested(10_000), "nesting_too_deep"),
        (b"[" * 100_000, "nesting_too_deep"),
    ],
)
def test_each_fault_has_its_reason(line: bytes, reason: str) -> None:
    with pytest.raises(RowError) as caught:
        decode_object(line)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "line",
    [
        nested(MAX_NESTING),
        b'{"a": "\\ud83d\\ude42"}',
        b'{"a": "backslash u0000: \\\\u0000"}',
        b'{"a": ":", "b": "\\":\\"", "c" : "\\" :", "d\\":": 1}',
        b'{"a": {"b": 1}, "b": {"b": 2}, "c": [{"b": 3}, {"b": 4}]}',
        b'{"a": [' + b"[]," * 500 + b"[]]}",
        b'{"a": 1}\r',
        b"{}",
    ],
)
def test_unusual_but_sound_lines_are_read(line: bytes) -> None:
    assert decode_object(line) == json.loads(line)


TEXTS = st.text('ab":, \\\n\u00e9\u20ac', max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=4), st.booleans(), st.sampled_from([(",", ":"), (", ", " : ")]))
def test_what_the_standard_library_writes_is_read_alike(
    value: dict[str, object], ascii_only: bool, separators: tuple[str, str]
) -> None:
    line = json.dumps(value, ensure_ascii=ascii_only, separators=separators)
    assert decode_object(line.encode()) == json.loads(line)


@given(st.lists(st.tuples(st.sampled_from(["a", 'b":', "c :"]), st.text(max_size=3)), min_size=1, max_size=4))
def test_a_repeated_key_never_passes(pairs: list[tuple[str, str]]) -> None:
    line = "{" + ",".join(f"{json.dumps(key)}:{json.dumps(text)}" for key, text in pairs) + "}"
    repeated = len({key for key, _ in pairs}) < len(pairs)
    try:
        decode_object(line.encode())
    except RowError as error:
        assert (error.reason == "duplicate_key") == repeated or error.reason == "nul_character"
    else:
        assert not repeated

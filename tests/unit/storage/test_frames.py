"""Tables in one file come back as they were, and take no more room than their own rows."""

import polars as pl
import pytest

from thumbline.pipeline.storage.frames import read_frame, read_frames, take_frames, write_frames
from thumbline.pipeline.tables import TABLES, polars_schema


def test_every_table_comes_back_with_its_types(tmp_path):
    frames = {name: polars_schema(name, optional=True).to_frame() for name in TABLES}
    assert {name: frame.schema for name, frame in frames.items()} == {
        name: frame.schema for name, frame in read_frames(write_frames(tmp_path / "a", frames)).items()
    }


def test_rows_come_back_and_the_file_is_gone_once_it_is_taken(tmp_path):
    texts = pl.DataFrame({"key": [1, None], "messages": [[{"role": "user", "content": "ä" * 99}], []]})
    frames = {"texts": texts, "wide": pl.select(number=pl.lit(2**100, pl.UInt128)), "none": texts.clear()}
    file = write_frames(tmp_path / "a", frames)
    assert all(read_frame(file, name).equals(frame) for name, frame in frames.items())
    for read in (read_frames, take_frames):
        found = read(file)
        assert list(found) == list(frames)
        assert all(found[name].equals(frame) and found[name].schema == frame.schema for name, frame in frames.items())
    assert not list(tmp_path.iterdir())


def test_a_slice_brings_none_of_the_other_rows(tmp_path):
    rows = pl.DataFrame({"text": [f"{number} " * 50 for number in range(2_000)]})
    write_frames(tmp_path / "a", {"rows": rows.slice(5, 2)})
    assert (tmp_path / "a").stat().st_size < 2_000


def test_a_file_is_whole_or_not_there(tmp_path):
    class Broken(pl.DataFrame):
        def write_ipc_stream(self, *_, **__):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left on device") as raised:
        write_frames(tmp_path / "a", {"rows": pl.DataFrame({"a": [1]}), "broken": Broken()})
    assert raised.value.filename == str(tmp_path / "a")
    assert not list(tmp_path.iterdir())

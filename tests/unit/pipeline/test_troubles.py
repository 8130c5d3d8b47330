"""Errors of the system and of libraries as one message each."""

import errno
import os
import sqlite3
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from thumbline.pipeline.errors import InputError, MachineError, PipelineError, TableError
from thumbline.pipeline.storage.files import atomic_file
from thumbline.pipeline.troubles import explained, in_words


def failing(number, name=None):
    return OSError(number, os.strerror(number), name)


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_every_error_of_the_system_is_one_line_that_names_the_file(number):
    told = explained(failing(number, "/a/b"), "events", Path("runs/x"))
    assert isinstance(told, InputError | MachineError)
    assert str(told).startswith("events: /a/b: ")
    assert "\n" not in str(told) and str(number) not in str(told)


@pytest.mark.parametrize(
    ("number", "words", "kind"),
    [
        (errno.ENOSPC, "no space is left on the disk. Free some", MachineError),
        (errno.EIO, "the disk cannot be read or written", MachineError),
        (errno.EROFS, "the file system is read-only. Choose another place", InputError),
        (errno.EACCES, "permission denied", InputError),
        (errno.ENOTDIR, "a part of this path is a file", InputError),
        (errno.ENAMETOOLONG, "the name is longer than the file system takes. Choose a shorter one", InputError),
    ],
)
def test_what_to_do_is_said_and_who_has_to(number, words, kind):
    told = explained(failing(number), "pairs", Path("runs/x"))
    assert type(told) is kind
    assert str(told).startswith(f"pairs: runs/x: {words}")


def test_a_temporary_name_is_that_of_its_file():
    told = explained(failing(errno.ENOSPC, "/a/.events.parquet.0123456789abcdef.tmp"))
    assert str(told).startswith("/a/events.parquet: no space is left")


@pytest.mark.parametrize(
    "error",
    [
        pl.exceptions.ComputeError("No space left on device (os error 28)"),
        RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed"),
        sqlite3.OperationalError("database or disk is full"),
        pa.ArrowException("Error writing bytes to file. Detail: [errno 28] No space left on device"),
    ],
)
def test_a_full_disk_is_known_in_the_words_of_every_library(error):
    assert "no space is left on the disk" in str(explained(error))


def test_what_a_library_raised_from_an_error_of_the_system_is_that_one():
    words = "train: runs/x: the disk cannot be read or written"
    with pytest.raises(MachineError, match=words) as caught, in_words("train", Path("runs/x")):
        try:
            raise failing(errno.EIO)
        except OSError as error:
            raise ValueError("cannot serialise") from error
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize(
    "error",
    [
        pl.exceptions.ComputeError("Read-only file system (os error 30)"),
        OSError("Read-only file system (os error 30)"),
        OSError(errno.EROFS, "Read-only file system"),
        RuntimeError("Read-only file system"),
        pl.exceptions.PanicException("Read-only file system (os error 30)"),
    ],
)
def test_whoever_writes_the_file_is_named_where_no_stage_says_the_folder(tmp_path, error):
    with pytest.raises(InputError) as caught, in_words(), atomic_file(tmp_path / "metrics.parquet"):
        raise error
    assert str(caught.value).startswith(f"{tmp_path}/metrics.parquet: the file system is read-only")


def test_broken_tables_are_told_by_whoever_reads_them(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 this is none PAR1")
    for read in (pl.read_parquet, pq.read_table):
        with pytest.raises(TableError, match="pairs: a table cannot be read or made"), in_words("pairs"):
            read(tmp_path / "a.parquet")


def test_panics_of_polars_are_told_too():
    with pytest.raises(TableError, match="PanicException: at the disco"), in_words():
        raise pl.exceptions.PanicException("at the disco")


def test_what_memory_and_depth_forbid_is_told():
    assert "not enough memory" in str(explained(MemoryError()))
    assert "too deep inside one another" in str(explained(RecursionError("maximum recursion depth exceeded")))
    assert "not enough memory" in str(explained(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")))


def test_a_fault_of_the_program_and_our_own_errors_stay_what_they_are():
    assert explained(KeyError("x")) is None
    assert explained(KeyboardInterrupt()) is None
    for error in (ZeroDivisionError(), PipelineError("ours"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, in_words("pairs"):
            raise error
        assert caught.value is error
    # What a fault happened beside does not make it another.
    with pytest.raises(KeyError), in_words("pairs"):
        try:
            raise failing(errno.ENOENT)
        except OSError:
            raise KeyError("x")  # noqa: B904

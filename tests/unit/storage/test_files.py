"""A file is whole or as it was."""

import errno
import os
import resource
import stat
from pathlib import Path

import polars as pl
import pytest

from thumbline.pipeline.errors import InputError
from thumbline.pipeline.storage import files


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError), files.atomic_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_a_library_that_does_not_say_why_it_wrote_no_more_is_told_by_the_disk(tmp_path):
    path = tmp_path / "a.parquet"
    unsaid = pl.exceptions.ComputeError("parquet: File out of specification: Invalid thrift: transport error")
    with pytest.raises(pl.exceptions.ComputeError), files.atomic_file(path):
        raise unsaid
    # No file may grow beyond this here, as on a disk that is full.
    least, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, most))
    try:
        with pytest.raises(OSError, match="File too large") as raised, files.atomic_file(path) as temporary:
            temporary.write_bytes(b"some")
            raise unsaid
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (least, most))
    assert raised.value.errno == errno.EFBIG and raised.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []


def test_temporary_names_never_meet_and_what_a_killed_writer_left_is_removed(tmp_path, monkeypatch):
    # As in two containers.
    monkeypatch.setattr("os.getpid", lambda: 7)
    with files.atomic_file(tmp_path / "a") as one, files.atomic_file(tmp_path / "a") as other:
        one.write_text("one")
        other.write_text("other")
        assert one != other
        files.remove_temporary(tmp_path)
        assert list(tmp_path.iterdir()) == []
        one.write_text("one")
        other.write_text("other")
    assert (tmp_path / "a").read_text() == "one"
    own = [".mine", ".mine.tmp", ".my.0123.tmp"]
    for name in own:
        (tmp_path / name).write_text("kept")
    (tmp_path / ".a.0123456789abcdef.tmp").mkdir()
    files.remove_temporary(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([".a.0123456789abcdef.tmp", *own, "a"])


def test_what_a_killed_command_left_beside_a_users_file_goes_with_its_next(tmp_path):
    mine, others = tmp_path / ".gate.xml.0123456789abcdef.tmp", tmp_path / ".a.xml.0123456789abcdef.tmp"
    for path in (mine, others):
        path.touch()
    (tmp_path / "link.xml").symlink_to("gate.xml")
    assert files.free_place(tmp_path / "link.xml") == tmp_path / "link.xml"
    assert not mine.exists() and others.exists()
    assert files.free_place(tmp_path / "none" / "gate.xml") == tmp_path / "none" / "gate.xml"
    with pytest.raises(InputError, match="a folder, not a file"):
        files.free_place(tmp_path)


def test_libraries_are_given_no_name_that_is_not_utf_8(tmp_path):
    assert files.exact_path(tmp_path / "é") == str(tmp_path / "é")
    with pytest.raises(InputError, match="this name is not UTF-8"):
        files.exact_path(tmp_path / "\udcff.parquet")
    assert files.text_of("é\udcff.x") == r"é\xff.x"


def test_a_text_with_half_a_character_is_written_with_an_escape(tmp_path):
    files.write_text(tmp_path / "a", 'é "\udcff"')
    files.write_passing(tmp_path / "b", 'é "\udcff"')
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == 'é "\\udcff"'.encode()


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "own.xml").write_text("old")
    (tmp_path / "link.xml").symlink_to("far/own.xml")
    (tmp_path / "new.xml").symlink_to("far/none-yet.xml")
    files.write_text(tmp_path / "link.xml", "new")
    files.write_text(tmp_path / "new.xml", "first")
    assert (tmp_path / "link.xml").is_symlink() and (tmp_path / "new.xml").is_symlink()
    assert (tmp_path / "far" / "own.xml").read_text() == "new"
    assert (tmp_path / "far" / "none-yet.xml").read_text() == "first"
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "far",
        "link.xml",
        "new.xml",
        "none-yet.xml",
        "own.xml",
    ]


def test_what_is_no_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "circle").symlink_to("circle")
    for name, words in {
        "pipe": "a device, a pipe or a socket, not a file, and is not replaced",
        "link": "a device, a pipe or a socket, not a file, and is not replaced",
        "folder": "a folder, not a file",
        "circle": "cannot be written",
    }.items():
        with pytest.raises(InputError, match=f"{name}: {words}"):
            files.write_text(tmp_path / name, "new")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["circle", "folder", "link", "pipe"]


def test_a_pipe_that_has_no_path_but_its_number_is_refused_as_a_pipe():
    read_end, write_end = os.pipe()
    try:
        with pytest.raises(InputError, match=f"/{write_end}: a device, a pipe or a socket, not a file"):
            files.check_place(Path(f"/proc/self/fd/{write_end}"))
    finally:
        os.close(read_end)
        os.close(write_end)


def test_an_error_of_a_write_names_the_file_and_a_library_s_own_words_stay(tmp_path):
    with pytest.raises(OSError, match="x.json") as caught, files.atomic_file(tmp_path / "x.json"):
        raise OSError(errno.EIO, "Input/output error")
    assert caught.value.filename == str(tmp_path / "x.json")
    with pytest.raises(OSError, match=r"^Input/output error \(os error 5\)$"), files.atomic_file(tmp_path / "x.json"):
        raise OSError("Input/output error (os error 5)")


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_done(tmp_path):
    files.check_place(tmp_path / "new" / "gate.xml")
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="gate.xml: cannot be written .Not a directory"):
        files.check_place(tmp_path / "file" / "gate.xml")
    with pytest.raises(InputError, match="a folder, not a file"):
        files.check_place(tmp_path / "new")

"""A file is whole or as it was."""

import pytest

from thumbline.pipeline.storage import files


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError), files.atomic_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


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
    (tmp_path / ".mine").write_text("kept")
    files.remove_temporary(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine", "a"]

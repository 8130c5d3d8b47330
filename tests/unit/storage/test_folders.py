"""Folders of files, local and behind an address: what is written is whole, what is gone is no error."""

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from thumbline.pipeline.errors import ConfigError, InputError, MachineError, MissingDependencyError
from thumbline.pipeline.storage import patience
from thumbline.pipeline.storage.folders import LocalFolder, RemoteFolder, open_folder


class SlowFiles(LocalFileSystem):
    """A file system whose uploads can be seen half done, as those over FTP or a share can."""


@pytest.fixture(params=["folder", "file", "memory", "half", "copied"])
def place(request, tmp_path):
    # Names are no patterns.
    folder = tmp_path / "s[1]*"
    if request.param == "half":
        return RemoteFolder(SlowFiles(), str(folder), "sftp")
    if request.param == "copied":
        # A file system that cannot move: its client copies.
        return RemoteFolder(MemoryFileSystem(), f"/{tmp_path.name}/s[1]*", "sftp")
    addresses = {"folder": folder, "file": f"file://{folder}", "memory": f"memory://{tmp_path.name}/s[1]*"}
    return open_folder(addresses[request.param])


def test_what_is_written_can_be_read_listed_renamed_and_removed(place):
    assert place.folders() == []
    assert place.files("key") == []
    place.write("key/b.parquet", b"two")
    place.write("key/a.parquet", b"one")
    place.write("key/a.parquet", b"1")
    place.write("other/c.parquet", b"")
    assert place.folders() == ["key", "other"]
    assert [(file.name, file.size) for file in place.files("key")] == [("a.parquet", 1), ("b.parquet", 3)]
    assert all(file.modified > 1e9 for file in place.files("key"))
    assert place.read("key/b.parquet") == b"two"
    place.rename("key/b.parquet", "key/b.bad")
    place.remove("key/a.parquet")
    assert [file.name for file in place.files("key")] == ["b.bad"]
    assert place.address("key/b.bad").endswith("key/b.bad")


def test_what_another_process_took_is_no_error(place):
    place.write("key/a", b"x")
    place.rename("key/gone", "key/new")
    place.remove("key/gone")
    with pytest.raises(FileNotFoundError):
        place.read("key/gone")


@pytest.mark.parametrize("failing", ["pipe_file", "mv"])
def test_a_killed_upload_is_not_seen(tmp_path, monkeypatch, failing):
    place = RemoteFolder(SlowFiles(), str(tmp_path), "sftp")
    right = getattr(SlowFiles, failing)

    def cut(self, path, data=b"", **other):
        if failing == "pipe_file":
            right(self, path, data[:3])
        raise OSError("connection lost")

    monkeypatch.setattr(SlowFiles, failing, cut)
    monkeypatch.setattr(patience, "PAUSES", ())
    with pytest.raises(
        MachineError, match=r"sftp://.*key/a.parquet: cannot be written, in 1 tries \(OSError: connection lost\)"
    ):
        place.write("key/a.parquet", b"whole content")
    assert place.files("key") == []
    assert [file.name.startswith(".a.parquet.") for file in place.files("key", unfinished=True)] == [True]


def test_what_fails_for_a_while_is_tried_again(tmp_path, monkeypatch):
    place, right, left = RemoteFolder(SlowFiles(), str(tmp_path), "sftp"), SlowFiles.pipe_file, [1, 2]
    monkeypatch.setattr(patience, "PAUSES", (0.0, 0.0))

    def cut(self, path, data):
        if left:
            left.pop()
            raise OSError("connection lost")
        right(self, path, data)

    monkeypatch.setattr(SlowFiles, "pipe_file", cut)
    place.write("key/a", b"x")
    assert place.read("key/a") == b"x" and left == []


def test_a_folder_that_cannot_be_written_is_explained(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        LocalFolder(tmp_path / "file").write("key/a", b"x")


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        ("no-such-thing://x", ConfigError, "reference.store: no-such-thing://x cannot be opened"),
        ("s3://bucket/store", MissingDependencyError, "needs a client that is not installed"),
    ],
)
def test_an_address_that_cannot_be_opened_is_named(address, error, message, monkeypatch):
    import fsspec.core

    if error is MissingDependencyError:
        monkeypatch.setattr(fsspec.core, "url_to_fs", lambda _: (_ for _ in ()).throw(ImportError("Install s3fs")))
    with pytest.raises(error, match=message):
        open_folder(address)


def test_no_message_holds_the_credentials_of_an_address():
    for address in ("nowhere://me:TOPSECRET@bucket/x", "s3://AKIA:TOP/SECRET@bucket/x"):
        with pytest.raises((ConfigError, MissingDependencyError, InputError, MachineError)) as caught:
            open_folder(address).folders()
        assert "SECRET" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"the secret of s3://\(kept secret\)@bucket/x is kept nowhere"):
        open_folder("s3://(kept secret)@bucket/x")

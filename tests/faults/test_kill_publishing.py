"""A command that is killed while it publishes to an object store: no half stage is seen, and the next start goes on."""

import os
import signal
import subprocess
import sys

import pytest

import thumbline
from tests.line.conftest import write_log
from tests.object_store import BUCKET, Proxy, served, use

pytest.importorskip("s3fs")
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("place", [pytest.param("/pairs/manifest.json", marks=pytest.mark.soak), "/responses/"])
def test_no_half_stage_is_seen(place, tmp_path, monkeypatch):
    log, folder = write_log(tmp_path / "log.jsonl", prompts=12), tmp_path / "s3"
    with served(folder) as port:
        proxy = Proxy(port, folder)
        use(proxy.port, monkeypatch)
        monkeypatch.setenv("THUMBLINE_CACHE", str(tmp_path / "cache"))
        address, started = f"s3://{BUCKET}/runs/mine", []

        def kill(number, method, path):
            if method == "PUT" and place in path and started:
                os.kill(started.pop().pid, signal.SIGKILL)
                return "cut"
            return None

        proxy.fault = kill
        command = [sys.executable, "-m", "thumbline", "prepare", str(log), "-o", address]
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        process = started[0]
        assert process.wait(timeout=280) == -signal.SIGKILL
        there, stage = folder / BUCKET / "runs" / "mine", place.split("/")[1]
        assert (there / "events" / "manifest.json").is_file() and not (there / stage / "manifest.json").exists()
        # The lease of the killed process is of this working folder, so that nobody waits for its end.
        again = thumbline.prepare(log, output=address)
        own = thumbline.prepare(log, output=tmp_path / "local")
        for name in again.manifests:
            assert again.manifests[name].outputs == own.manifests[name].outputs, name
            assert len([one for one in (there / name).iterdir() if one.is_dir()]) == 1, "nothing stays of the first"
        assert not list((there / "lock").glob("*"))
        proxy.close()

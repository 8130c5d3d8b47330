"""The upload against an endpoint of our own on this machine: what the hub's client really sends."""

import base64
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import huggingface_hub
import pytest

import thumbline
from tests.line.conftest import write_log
from thumbline.pipeline.errors import InputError

COMMIT = "0" * 40


class Hub(ThreadingHTTPServer):
    """A hub that holds one data set in memory, and takes the token `right` alone."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answers)
        self.files, self.made, self.requests = {}, {}, []

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    """The addresses that `create_repo` and `upload_folder` ask."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._answer()

    def do_POST(self):
        self._answer()

    def _answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append(self.path)
        if self.headers.get("Authorization") != "Bearer right":
            self._send({"error": "Invalid username or password."}, status=401)
        elif self.path == "/api/repos/create":
            self.server.made = json.loads(body)
            self._send({"url": f"{self.server.address}/datasets/{self._name()}"})
        elif self.path == "/api/validate-yaml":
            self._send({"warnings": [], "errors": []})
        elif "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            modes = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in asked]
            self._send({"files": modes, "commitOid": COMMIT})
        elif "/commit/" in self.path:
            self._commit(body)
        else:
            listed = [{"type": "file", "path": path, "size": 1, "oid": COMMIT} for path in self.server.files]
            listing = (
                listed if "/tree/" in self.path else {"id": self._name(), "sha": COMMIT, "siblings": self._siblings()}
            )
            self._send(listing)

    def _name(self):
        made = self.server.made
        return f"{made.get('organization') or 'ann'}/{made['name'].split('/')[-1]}"

    def _commit(self, body):
        for line in map(json.loads, body.decode().splitlines()):
            if line["key"] == "file":
                self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "deletedFile":
                del self.server.files[line["value"]["path"]]
        address = f"{self.server.address}/datasets/{self._name()}/commit/{COMMIT}"
        self._send({"success": True, "commitOid": COMMIT, "commitUrl": address})

    def _send(self, content, status=200):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def hub(monkeypatch):
    server = Hub()
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.address)
    monkeypatch.setenv("HF_TOKEN", "right")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    log = write_log(folder / "thumbs.jsonl", prompts=12)
    return thumbline.prepare(str(log), output=folder / "out", format="thumbs_jsonl")


def test_the_data_set_and_its_card_are_on_the_hub_and_private(hub, prepared, tmp_path):
    written = thumbline.export(prepared, output=tmp_path, push_to_hub="ann/garden")
    assert written.address == f"{hub.address}/datasets/ann/garden"
    assert hub.made["visibility"] == "private" and hub.made["type"] == "dataset"
    assert set(hub.files) == {"README.md", *written.rows}
    for name in hub.files:
        assert hub.files[name] == (tmp_path / name).read_bytes()


def test_rows_that_are_no_longer_there_leave_the_hub(hub, prepared, tmp_path):
    thumbline.export(prepared, output=tmp_path, test=True, push_to_hub="ann/garden", private=False)
    assert "pairs/test.parquet" in hub.files and hub.made["visibility"] == "public"
    hub.files["others/notes.parquet"] = b"kept"
    thumbline.export(prepared, output=tmp_path, push_to_hub="ann/garden")
    assert "pairs/test.parquet" not in hub.files and "pairs/train.parquet" in hub.files
    assert hub.files["others/notes.parquet"] == b"kept"


def test_a_token_that_the_hub_refuses_is_said_with_what_to_do(hub, prepared, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "wrong")
    with pytest.raises(InputError, match=r"the hub does not take 'ann/garden': .*HF_TOKEN gives the right to write"):
        thumbline.export(prepared, output=tmp_path, push_to_hub="ann/garden")
    assert (tmp_path / "README.md").is_file() and not hub.files


def test_a_name_that_no_data_set_can_have_is_refused(hub, prepared, tmp_path):
    with pytest.raises(InputError, match="the hub does not take 'a/b/c'"):
        thumbline.export(prepared, output=tmp_path, push_to_hub="a/b/c")


def test_a_hub_that_is_not_there_is_said(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "right")
    with pytest.raises(InputError, match="the hub does not take 'ann/garden'"):
        thumbline.export(prepared, output=tmp_path, push_to_hub="ann/garden")

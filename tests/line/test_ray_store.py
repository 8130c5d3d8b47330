"""The line over a Ray cluster from and to an S3 server: the bytes of one machine, whatever fails on the way."""

import hashlib
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import fsspec
import pytest

from tests.line.conftest import write_config, write_log
from tests.line.test_ray import SECTIONS, SIZES, begun_by, digests
from tests.object_store import BUCKET, Proxy, served, use
from tests.ray_tasks import ended, processes
from thumbline.pipeline import line
from thumbline.pipeline.config import RunConfig, load_config
from thumbline.pipeline.context import SilentReporter
from thumbline.pipeline.storage import attached, patience
from thumbline.pipeline.storage.manifests import read_manifest

pytest.importorskip("s3fs")
pytestmark = [
    pytest.mark.heavy,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: pip install 'thumbline[ray]'"),
]


class Store(NamedTuple):
    """An S3 server with a log in it.

    Attributes:
        bucket: The folder that it serves as its bucket.
        proxy: What clients reach.
    """

    bucket: Path
    proxy: Proxy


@pytest.fixture
def store(small_log, tmp_path_factory, tmp_path, monkeypatch) -> Iterator[Store]:
    """Behind a proxy, for a machine with an empty cache; workers of the cluster take the environment along."""
    folder = tmp_path_factory.mktemp("s3")
    with served(folder) as port:
        proxy = Proxy(port, folder)
        use(proxy.port, monkeypatch)
        monkeypatch.setenv("THUMBLINE_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        monkeypatch.setattr(patience, "PAUSES", (0.01, 0.01, 0.01))
        monkeypatch.setattr(attached, "_attached", {})
        fsspec.filesystem("s3", use_listings_cache=False).put_file(str(small_log), f"{BUCKET}/logs/thumbs.jsonl")
        proxy.requests.clear()
        yield Store(folder / BUCKET, proxy)
        proxy.close()


LOG = f"s3://{BUCKET}/logs/thumbs.jsonl"


def run_file(place: Path, model: Path, name: str, runs: str, **sections) -> Path:
    """A run of the log in the store, with log-probs of its own beside its runs."""
    events = SECTIONS["events"] | {"inputs": [LOG], "format": "thumbs_jsonl"}
    reference = {"store": f"{runs}/store"} | sections.pop("reference", {})
    sections = SECTIONS | sections | {"events": events, "reference": reference}
    return write_config(place, Path("unused"), model, name, **sections, runs=runs)


def over_ray(place: Path, model: Path, **sections) -> RunConfig:
    """One whose folder lies at the store, that is to run over a cluster."""
    return load_config(run_file(place, model, "there", f"s3://{BUCKET}/runs", **sections), ("scale.runner=ray",))


def calm(place: Path, model: Path, **sections) -> RunConfig:
    """The same in a folder of this machine, without a cluster."""
    return load_config(run_file(place, model, "here", str(place / "runs"), **sections))


def check_same(here: RunConfig, there: RunConfig, bucket: Path) -> None:
    """The tables are the same, and those that the store holds are they."""
    assert digests(there) == digests(here) != {}
    for stage in line.STAGE_NAMES:
        manifest = read_manifest(there.run_dir / stage)
        for name in manifest.outputs if manifest is not None else ():
            (path,) = (bucket / "runs" / "there" / stage).glob(f"*/{name}.parquet")
            assert hashlib.sha256(path.read_bytes()).hexdigest() == manifest.contents[f"{name}.parquet"]


class Killing(SilentReporter):
    """Kills an engine's process of a cluster that begins meanwhile, once a shard is scored."""

    def __init__(self) -> None:
        self.killed = []

    @contextmanager
    def progress(self, description, total, unit):
        def advance(units: int) -> None:
            if description == "reference log-probs" and not self.killed:
                found = [pid for folder in begun_by(os.getpid()) for pid in processes(folder, "ray::Member")]
                self.killed = found[:1]
                os.kill(self.killed[0], signal.SIGKILL)

        yield advance


def test_a_store_that_fails_one_request_in_ten_and_an_engine_that_ends_change_no_byte(store, tiny_model, tmp_path):
    """In turn the store answers 503, cuts the connection, loses an answer and is slow."""
    here, there = calm(tmp_path, tiny_model), over_ray(tmp_path, tiny_model)
    stages = line.select(None, "reference")
    list(line.run(here, stages, sizes=SIZES))
    faults = ("refuse", "cut", "lose", "stall")
    store.proxy.fault = lambda number, method, path: faults[number // 10 % 4] if number % 10 == 3 else None
    reporter = Killing()
    list(line.run(there, stages, sizes=SIZES, reporter=reporter))
    check_same(here, there, store.bucket)
    assert reporter.killed and all(map(ended, reporter.killed))
    assert [path for method, path in store.proxy.requests if method == "GET" and path.startswith(f"/{BUCKET}/logs/")]
    assert not list((store.bucket / "runs" / "there" / "lock").glob("*"))


def small_llama(place: Path) -> Path:
    """In sizes that vLLM's CPU attention takes."""
    from tests.tiny import save_random_llama, tiny_tokenizer

    tokenizer = tiny_tokenizer()
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 128, "intermediate_size": 128, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512}
    folder = save_random_llama(place / "llama", **sizes, **heads, tie_word_embeddings=True)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.vllm
@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed")
def test_vllm_in_two_actors_from_and_to_the_store(store, tmp_path):
    """Each has one core."""
    model = small_llama(tmp_path)
    log = write_log(tmp_path / "short.jsonl", prompts=16)
    fsspec.filesystem("s3", use_listings_cache=False).put_file(str(log), f"{BUCKET}/logs/thumbs.jsonl")
    sections = {
        "reference": {"engine": "vllm", "dtype": "float32", "shard_rows": 8, "routes": ["adapter"]},
        "splits": {"validation": 0.2, "test": 0.3},
    }
    here, there = calm(tmp_path, model, **sections), over_ray(tmp_path, model, **sections)
    stages = line.select(None, "reference")
    list(line.run(here, stages, sizes=SIZES))
    (*_, last) = line.run(there, stages, sizes=SIZES)
    check_same(here, there, store.bucket)
    assert last.manifest.notes["engine"].startswith("vllm")


@pytest.mark.vllm
@pytest.mark.soak
@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed")
def test_the_line_of_the_demo_model_from_a_log_to_a_report_at_the_store(store, tmp_path):
    """Preparation by tasks, the untrained and the trained model scored by vLLM in two actors of one core each."""
    log = write_log(tmp_path / "short.jsonl", prompts=24)
    fsspec.filesystem("s3", use_listings_cache=False).put_file(str(log), f"{BUCKET}/logs/thumbs.jsonl")
    sections = {
        "reference": {"engine": "vllm", "dtype": "float32", "shard_rows": 16, "routes": ["adapter"]},
        "splits": {"validation": 0.2, "test": 0.3},
        "train": {"epochs": 1, "parity_rows": 4},
    }
    here, there = calm(tmp_path, "demo", **sections), over_ray(tmp_path, "demo", **sections)
    stages = line.select(None, "report")
    list(line.run(here, stages, sizes=SIZES))
    list(line.run(there, stages, sizes=SIZES))
    check_same(here, there, store.bucket)
    assert read_manifest(there.run_dir / "policy").notes["engine"].startswith("vllm")
    (report,) = (store.bucket / "runs" / "there" / "report").glob("*/report.html")
    assert b"held-out" in report.read_bytes()

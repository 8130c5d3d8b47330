"""vLLM's scores of a thumbs model's folder against our own: it serves the folder as it is."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest
import torch
from transformers import LlamaConfig, LlamaForSequenceClassification

from tests.engine_inputs import random_sequences
from tests.tiny import tiny_tokenizer
from thumbline.pipeline.engines.thumbs_model import open_thumbs_model

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
]
VOCABULARY = 320
# In a process of its own: vLLM keeps what it took until its process ends.
SERVE = """
import json, sys
from vllm import LLM, PoolingParams
folder, rows = sys.argv[1], json.load(sys.stdin)
model = LLM(folder, runner="pooling", dtype="bfloat16", max_model_len=256, enforce_eager=True)
asked = [{"prompt_token_ids": ids} for ids in rows]
found = model.classify(asked, pooling_params=PoolingParams(use_activation=False), use_tqdm=False)
print("SCORES" + json.dumps([one.outputs.probs for one in found]))
"""
ENVIRONMENT = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}


def test_vllm_gives_the_same_scores(tmp_path):
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        num_labels=1,
        pad_token_id=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForSequenceClassification(config)
        torch.nn.init.normal_(model.score.weight, std=0.1)
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    entries = random_sequences(12, VOCABULARY, 100)
    rows = [list(entry.prompt_token_ids + entry.completion_token_ids) for entry in entries]
    served = subprocess.run(
        [sys.executable, "-c", SERVE, str(tmp_path)],
        input=json.dumps(rows),
        capture_output=True,
        text=True,
        env=os.environ | ENVIRONMENT,
    )
    lines = [line for line in served.stdout.splitlines() if line.startswith("SCORES")]
    assert lines, served.stderr[-2000:]
    found = [row[0] for row in json.loads(lines[0].removeprefix("SCORES"))]
    expected = open_thumbs_model(tmp_path, "cpu", "float32").scores(entries)
    assert max(expected) - min(expected) > 1.0
    assert found == pytest.approx(expected, abs=0.05)

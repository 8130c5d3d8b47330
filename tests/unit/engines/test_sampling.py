"""Sampling by transformers: exact distributions, answers that hang on nothing but their seed, and where they end."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from tests.tiny import CHATML, save_tiny_model
from thumbline.pipeline.config import EngineConfig
from thumbline.pipeline.engines.encoding import load_encoder
from thumbline.pipeline.engines.ending import context_tokens, end_token_ids
from thumbline.pipeline.engines.sampling import Draw, Sampled, SamplingSettings, ended
from thumbline.pipeline.engines.sampling_hf import HFSampler, inverse_cdf

CONFIG = EngineConfig(engine="hf", dtype="float32", batch_tokens=64)
PLAIN = SamplingSettings(12, 1.0, 1.0, 0, (1,))
PROMPTS = [(0, 40, 41, 42), (0, 50), tuple(range(60, 90)), (0, 99, 7)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Random layers whose head is far from uniform, so that a changed distribution shows."""
    folder = save_tiny_model(tmp_path_factory.mktemp("model"))
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        loaded.get_output_embeddings().weight.mul_(5)
    loaded.save_pretrained(folder)
    return folder


def sampled(model, draws, settings=PLAIN, config=CONFIG):
    sampler = HFSampler(model, config, settings)
    try:
        return sampler.sample(draws)
    finally:
        sampler.close()


def draws_of(prompts, samples=3):
    return [Draw(prompt, 100 * place + sample) for place, prompt in enumerate(prompts) for sample in range(samples)]


def test_the_inverse_of_the_distribution_function_by_hand():
    # Masses 0.2, 0.5, 0 and 0.3: sums 0.2, 0.7, 0.7, 1.
    logits = torch.tensor([0.2, 0.5, 0.0, 0.3]).log().expand(7, 4)
    numbers = torch.tensor([0.0, 0.19, 0.21, 0.69, 0.71, 0.99, 1 - 2.0**-53], dtype=torch.float64)
    assert inverse_cdf(logits, numbers).tolist() == [0, 0, 1, 1, 3, 3, 3]


def test_a_token_without_mass_is_never_drawn():
    logits = torch.full((2, 5), -torch.inf)
    logits[:, 3] = 0.0
    assert inverse_cdf(logits, torch.tensor([0.0, 1 - 2.0**-53], dtype=torch.float64)).tolist() == [3, 3]


@pytest.mark.parametrize(
    "settings",
    [
        PLAIN,
        PLAIN._replace(temperature=0.6),
        PLAIN._replace(top_k=5),
        PLAIN._replace(top_p=0.7),
        PLAIN._replace(temperature=1.5, top_k=20, top_p=0.8),
    ],
)
def test_first_tokens_have_the_frequencies_that_transformers_warpers_give(model, settings):
    count = 4000
    prompt = PROMPTS[0]
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(model)(torch.tensor([prompt])).logits[:, -1]
    if settings.temperature != 1.0:
        logits = TemperatureLogitsWarper(settings.temperature)(None, logits)
    if settings.top_k:
        logits = TopKLogitsWarper(settings.top_k)(None, logits)
    if settings.top_p < 1.0:
        logits = TopPLogitsWarper(settings.top_p)(None, logits)
    expected = logits.softmax(-1)[0].double().numpy()
    found = sampled(model, [Draw(prompt, seed) for seed in range(count)], settings._replace(max_new_tokens=1))
    counts = np.zeros(len(expected))
    for token, times in Counter(answer.token_ids[0] for answer in found).items():
        counts[token] = times
    assert not counts[expected == 0].any()
    # Five standard errors of each count, and one for counts near 0.
    assert np.all(np.abs(counts - count * expected) <= 5 * np.sqrt(count * expected * (1 - expected)) + 1)


def test_greedy_answers_are_those_of_transformers_generate(model):
    loaded = AutoModelForCausalLM.from_pretrained(model)
    found = sampled(model, [Draw(prompt, 0) for prompt in PROMPTS], PLAIN._replace(temperature=0.0))
    for prompt, answer in zip(PROMPTS, found, strict=True):
        ids = torch.tensor([prompt])
        own = loaded.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=12, eos_token_id=1, pad_token_id=1
        )
        assert answer == ended(own[0, len(prompt) :].tolist(), PLAIN)


def test_an_answer_does_not_hang_on_the_others_of_its_batch(model):
    draws = draws_of(PROMPTS)
    sampler = HFSampler(model, CONFIG, PLAIN)
    together = sampler.sample(draws)
    assert [sampler.sample([draw])[0] for draw in draws] == together
    assert sampler.sample(draws[::-1])[::-1] == together
    assert sampler.sample(draws) == together
    sampler.close()
    assert sampled(model, draws, config=CONFIG.model_copy(update={"batch_tokens": 4096})) == together


def test_another_seed_is_another_answer_and_the_beginning_of_a_longer_one_is_the_same(model):
    answers = sampled(model, draws_of(PROMPTS[:1], 20))
    assert len({answer.token_ids for answer in answers}) > 15
    longer = sampled(model, draws_of(PROMPTS[:1], 20), PLAIN._replace(max_new_tokens=30))
    for short, long in zip(answers, longer, strict=True):
        assert long.token_ids[: len(short.token_ids)] == short.token_ids


def test_an_answer_ends_with_its_first_end_token_or_is_cut():
    assert ended([5, 1, 6, 1], PLAIN) == Sampled((5, 1), "stop")
    assert ended([1], PLAIN) == Sampled((1,), "stop")
    assert ended([5, 6, 7], PLAIN._replace(max_new_tokens=2)) == Sampled((5, 6), "length")
    assert ended([5, 6, 1], PLAIN._replace(max_new_tokens=2)) == Sampled((5, 6), "length")


def test_answers_that_ended_leave_the_batch_and_the_others_go_on(model):
    # Half of the vocabulary ends an answer: most are over after two tokens, and some go on for long.
    settings = PLAIN._replace(end_token_ids=tuple(range(0, 384, 2)))
    draws = draws_of(PROMPTS, 16)
    sampler = HFSampler(model, CONFIG, settings)
    together = sampler.sample(draws)
    assert sum(answer.finish == "stop" for answer in together) > 32
    assert len({len(answer.token_ids) for answer in together}) > 3
    for answer in together:
        last = [0] if answer.finish == "stop" else [1]
        assert [token % 2 for token in answer.token_ids] == [1] * (len(answer.token_ids) - 1) + last
    assert [sampler.sample([draw])[0] for draw in draws[::7]] == together[::7]


def test_weights_that_give_no_number_are_refused(tmp_path):
    folder = save_tiny_model(tmp_path / "model")
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        loaded.model.norm.weight.fill_(torch.nan)
    sampler = HFSampler(save_tiny_model(tmp_path / "good"), CONFIG, PLAIN)
    sampler._model = loaded.eval()
    with pytest.raises(Exception, match=r"logits are NaN or infinite. Set reference.dtype to float32"):
        sampler.sample(draws_of(PROMPTS))


def ends(folder, template="chat"):
    return end_token_ids(folder, load_encoder(folder, template, 128, "drop"))


def test_end_tokens_are_those_of_tokenizer_template_and_settings(tmp_path):
    folder = save_tiny_model(tmp_path / "plain")
    assert ends(folder) == (1,)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, 9]}))
    assert ends(folder) == (1, 9)
    # A template whose turn ends with another token than the tokenizer's end.
    turned = save_tiny_model(tmp_path / "turned", template=CHATML.replace("<|im_end|>", "<|im_start|>"))
    assert ends(turned) == (0, 1)
    assert ends(turned, "plain") == (1,)


def test_without_generation_settings_the_config_counts(tmp_path):
    folder = save_tiny_model(tmp_path)
    (folder / "generation_config.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"eos_token_id": 7}))
    assert ends(folder) == (1, 7)
    (folder / "config.json").write_text(json.dumps(config | {"eos_token_id": None, "text_config": {"eos_token_id": 8}}))
    assert ends(folder) == (1,)
    assert context_tokens(folder) == 512

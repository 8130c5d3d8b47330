"""What vLLM is asked and how its answers are read, with a module that stands in for it: no vLLM is needed here."""

import json
import sys
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace

import pytest

from tests.engine_inputs import sequence
from tests.tiny import save_lora, save_tiny_model
from thumbline.pipeline.config import EngineConfig
from thumbline.pipeline.engines.vllm import routes
from thumbline.pipeline.engines.vllm.messages import RawScore, Settings
from thumbline.pipeline.errors import ConfigError

ENTRIES = [sequence([5, 6, 7], [8, 9]), sequence([5, 6, 7], [9]), sequence([4], [3, 2, 1])]


class Recorder:
    """An engine that keeps what it was made with and asked, and answers with -0.5 a position times its token."""

    def __init__(self, **arguments):
        self.arguments = arguments
        self.asked = []
        self.resets = 0

    def reset_prefix_cache(self):
        self.resets += 1

    def generate(self, prompts, parameters, **other):
        self.asked.append((prompts, parameters, other["lora_request"]))
        given = parameters if isinstance(parameters, list) else [parameters] * len(prompts)
        return [self._output(prompt["prompt_token_ids"], asked) for prompt, asked in zip(prompts, given, strict=True)]

    def _output(self, ids, asked):
        if hasattr(asked, "prompt_logprob_start"):
            # The prefix cache covers the row before the completion of the sequence of four tokens.
            if len(ids) == 4 and ids[0] == 5 and not asked.skip_reading_prefix_cache:
                return SimpleNamespace(prompt_token_id_logprobs=None)
            rows = asked.prompt_logprob_token_ids
            assert len(rows) == len(ids) - 1 - asked.prompt_logprob_start
            assert [row[0] for row in rows] == ids[asked.prompt_logprob_start + 1 :]
            return SimpleNamespace(prompt_token_id_logprobs=[[-0.5 * row[0]] for row in rows])
        # Flat lists have nothing for the first position.
        flat = [-0.5 * token for token in ids[1:]]
        return SimpleNamespace(prompt_logprobs=SimpleNamespace(logprobs=flat))


@pytest.fixture
def vllm(monkeypatch):
    module = ModuleType("vllm")
    module.LLM = Recorder
    module.SamplingParams = lambda **given: SimpleNamespace(**given)
    lora = ModuleType("vllm.lora.request")
    lora.LoRARequest = lambda *given: given
    arguments = ModuleType("vllm.engine.arg_utils")

    @dataclass
    class EngineArgs:
        kv_cache_dtype: str = "auto"
        seed: int = 0

    arguments.EngineArgs = EngineArgs
    for name, part in {"vllm": module, "vllm.lora.request": lora, "vllm.engine.arg_utils": arguments}.items():
        monkeypatch.setitem(sys.modules, name, part)
    return module


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": 64}))

    def make(route="native", adapter_dir=None, **config):
        return Settings(route, str(tmp_path), EngineConfig(**config), 32, "", adapter_dir)

    return make


def opened(settings):
    scorer = routes.OPENERS[settings.route](settings)
    return scorer, scorer.args[0]


def test_vllms_own_scoring_asks_for_completion_rows_alone(vllm, settings):
    scorer, engine = opened(settings())
    assert scorer(ENTRIES) == [RawScore(-8.5, 2), RawScore(-4.5, 1), RawScore(-3.0, 3)]
    first, again = engine.asked
    assert [asked.prompt_logprob_start for asked in first[1]] == [2, 2, 0]
    # The row that the cache swallowed comes back without a score, and is asked for again without the cache.
    assert [asked.skip_reading_prefix_cache for asked in (*first[1], *again[1])] == [False] * 3 + [True]
    assert again[0] == [{"prompt_token_ids": [5, 6, 7, 9]}]
    assert engine.resets == 1


def test_prompt_logprobs_begin_at_the_completion(vllm, settings):
    scorer, engine = opened(settings("prompt_logprobs"))
    assert scorer(ENTRIES) == [RawScore(-8.5, 2), RawScore(-4.5, 1), RawScore(-3.0, 3)]
    assert engine.arguments["enable_prefix_caching"] is False
    assert engine.arguments["max_model_len"] == 33


@pytest.mark.parametrize("route", ["native", "prompt_logprobs"])
def test_values_a_token_are_kept_where_asked_for(vllm, settings, route):
    scorer, _ = opened(settings(route, token_logps=True))
    assert scorer(ENTRIES)[0] == RawScore(-8.5, 2, (-4.0, -4.5))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"tensor_parallel_size": 2}, {"tensor_parallel_size": 2}),
        ({"dtype": "float16"}, {"dtype": "float16"}),
        ({"max_num_batched_tokens": 128}, {"max_num_batched_tokens": 128}),
        ({"max_num_seqs": 7}, {"max_num_seqs": 7}),
        ({"gpu_memory_utilization": 0.4}, {"gpu_memory_utilization": 0.4}),
        ({"quantization": "fp8"}, {"quantization": "fp8"}),
        ({"prefix_caching": False}, {"enable_prefix_caching": False}),
        ({"engine_args": {"kv_cache_dtype": "fp8", "enforce_eager": False}}, {"kv_cache_dtype": "fp8"}),
        ({"engine_args": {"enforce_eager": False}}, {"enforce_eager": False}),
    ],
)
def test_settings_reach_vllm(vllm, settings, config, expected):
    _, engine = opened(settings(**config))
    assert expected.items() <= engine.arguments.items()


@pytest.mark.parametrize("route", ["native", "prompt_logprobs"])
@pytest.mark.parametrize("head_dtype", ["model", "float32"])
def test_the_heads_type_is_stated_on_every_route(vllm, settings, route, head_dtype):
    _, engine = opened(settings(route, head_dtype=head_dtype))
    assert engine.arguments["hf_overrides"]["head_dtype"] == head_dtype


def test_an_adapter_reaches_vllm_with_every_request(vllm, settings, tmp_path):
    model = save_tiny_model(tmp_path / "model")
    adapter = save_lora(tmp_path / "adapter", model, ("model.layers.0.mlp.up_proj",))
    scorer, engine = opened(settings(adapter_dir=str(adapter)))
    scorer(ENTRIES)
    assert {"enable_lora": True, "max_loras": 1, "max_lora_rank": 8}.items() <= engine.arguments.items()
    assert [asked[2] for asked in engine.asked] == [("reference", 1, str(adapter))] * 2
    assert "enable_lora" not in opened(settings())[1].arguments


def test_an_argument_that_vllm_does_not_know_is_named(vllm):
    assert routes.unknown_arguments({}) == ""
    assert routes.unknown_arguments({"seed": 3}) == ""
    assert "unknown vLLM engine argument 'sead'. Did you mean 'seed'?" in routes.unknown_arguments({"sead": 3})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"engine": "hf", "engine_args": {"seed": 1}}, "engine_args and quantization are vLLM's"),
        ({"engine": "hf", "quantization": "fp8"}, "engine_args and quantization are vLLM's"),
        ({"engine_args": {"dtype": "auto"}}, "engine_args sets dtype, which has a key of its own"),
        ({"routes": []}, "at least 1"),
        ({"routes": ["fast"]}, "native"),
    ],
)
def test_settings_that_do_not_hold_are_refused_before_any_work(settings, message):
    from thumbline.pipeline.config import build_config

    document = {"name": "x", "model": "demo", "events": {"inputs": ["log"]}, "reference": settings}
    with pytest.raises(ConfigError, match=message):
        build_config(document, origin="test")

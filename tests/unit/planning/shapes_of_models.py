"""Configs of small models, and runs of them, for plans."""

from transformers import Gemma3TextConfig, LlamaConfig, MixtralConfig

from thumbline.pipeline.config import RunConfig
from thumbline.pipeline.planning.tracing import Traces
from thumbline.pipeline.planning.work import Stated, work_of

_SIZES = {"vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
_SIZES |= {"num_key_value_heads": 2, "max_position_embeddings": 1024}


def llama(layers=8, **settings):
    return LlamaConfig(num_hidden_layers=layers, **{"tie_word_embeddings": True} | _SIZES | settings)


def gemma(layers=14):
    return Gemma3TextConfig(num_hidden_layers=layers, head_dim=16, sliding_window=8, **_SIZES)


def mixtral(layers=8):
    return MixtralConfig(num_hidden_layers=layers, num_local_experts=4, num_experts_per_tok=2, **_SIZES)


def run(model="demo", lengths=None, **train):
    sizes = {"batch_rows": 4, "micro_batch_rows": 2, "dtype": "float32", "layout": "padded"}
    document = {"name": "plan", "model": str(model), "events": {"inputs": ["none"]}, "train": sizes | train}
    return RunConfig.model_validate(document | ({"reference": lengths} if lengths else {}))


_LENGTHS = Stated(12, 20)


def trace(config, stated=_LENGTHS, **train):
    settings, traces = run(**train), Traces(config)
    with work_of(settings, stated, traces.layout(settings.train)) as work:
        return traces.step(settings.train, work.largest)


def peak(traced, phase, *kinds):
    """Bytes at a phase's peak, of all kinds or of some."""
    return sum(value for kind, value in traced.peaks[phase].items() if not kinds or kind in kinds)

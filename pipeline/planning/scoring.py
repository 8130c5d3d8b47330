"""What scoring by vLLM takes of one device: weights, and the keys and values of the sequences in flight."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ..config import EngineConfig, RunConfig

_WIDTHS: Final = {"bfloat16": 2.0, "float16": 2.0, "float32": 4.0}
# What vLLM's own methods leave of a weight, bytes; others are counted as unquantised.
_QUANTISED: Final = {"fp8": 1.0, "nf4": 0.516, "bitsandbytes": 0.516, "awq": 0.52, "gptq": 0.52}


class Scoring(NamedTuple):
    """Bytes of one device.

    Attributes:
        weights: The model's share.
        sequence: Keys and values of one sequence of `sequences.max_tokens` tokens.
        in_flight: Those of all `reference.max_num_seqs` at that length; with fewer blocks fewer run at once.
    """

    weights: float
    sequence: float
    in_flight: float

    @property
    def least(self) -> float:
        """Bytes without which nothing can be scored."""
        return self.weights + self.sequence


def scoring(config: Any, run: RunConfig, counts: Mapping[str, float]) -> Scoring:
    """What scoring the run's reference takes of each of its devices.

    Args:
        config: The model's.
        run: Engine and lengths.
        counts: Numbers of parameters: `all`, and `linear` in layers.
    """
    reference = run.reference
    sequence = sequence_bytes(config.get_text_config(), run.sequences.max_tokens, reference)
    return Scoring(weight_bytes(reference, counts), sequence, reference.max_num_seqs * sequence)


def weight_bytes(reference: EngineConfig, counts: Mapping[str, float]) -> float:
    """The share of a model's weights that a device holds.

    Args:
        reference: Type, quantisation, and over how many devices weights are shared out.
        counts: Numbers of parameters, of `Trace`.
    """
    width = _WIDTHS[reference.dtype]
    quantised = _QUANTISED.get(reference.quantization or "", width)
    weights = (counts["all"] - counts["linear"]) * width + counts["linear"] * quantised
    return weights / reference.tensor_parallel_size


def sequence_bytes(text: Any, tokens: int, reference: EngineConfig) -> float:
    """Keys and values of a sequence on a device: each layer keeps its window, and a head lies whole on one device.

    Args:
        text: Config of the language model.
        tokens: Of the sequence.
        reference: Type, and over how many devices heads are shared out.
    """
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    kinds = getattr(text, "layer_types", None) or ["full_attention"] * text.num_hidden_layers
    window = getattr(text, "sliding_window", None) or tokens
    kept = sum(min(tokens, window) if kind == "sliding_attention" else tokens for kind in kinds)
    shared_heads = max(1, heads // reference.tensor_parallel_size)
    return float(2 * kept * shared_heads * size * _WIDTHS[reference.dtype])

"""Models of three sizes with random weights: what a step takes does not depend on what they say."""

from typing import Any, NamedTuple

import torch

from tests.trl_trainers import Lengths


class Shape(NamedTuple):
    """A model's sizes, as its configuration names them, and the rows that it is trained on.

    Attributes:
        name: As it is printed.
        family: transformers' name of the architecture.
        settings: Its configuration.
        lengths: Of each pair.
        batch: Pairs or rows a step.
        micro_batch: Of them, those of a forward pass.
    """

    name: str
    family: str
    settings: dict[str, Any]
    lengths: Lengths
    batch: int
    micro_batch: int


def _sizes(hidden: int, inner: int, layers: int, heads: int, kv_heads: int, vocabulary: int, tied: bool) -> Any:
    return {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocabulary,
        "tie_word_embeddings": tied,
        "max_position_embeddings": 4096,
    }


_ROWS = Lengths(1024, 512, 512)
# The sizes of Qwen2.5-0.5B, Llama-3.2-1B and Llama-3.1-8B, from their published configurations.
SHAPES = (
    Shape("8B", "llama", _sizes(4096, 14336, 32, 32, 8, 128_256, False), _ROWS, 8, 2),
    Shape("1B", "llama", _sizes(2048, 8192, 16, 32, 8, 128_256, True), _ROWS, 16, 8),
    Shape("0.5B", "qwen2", _sizes(896, 4864, 24, 14, 2, 151_936, True), _ROWS, 16, 8),
)
_DRY_ROWS = Lengths(12, 8, 6)
DRY_SHAPES = tuple(
    shape._replace(settings=_sizes(64, 96, 2, 4, 2, 300, False), lengths=_DRY_ROWS, batch=4, micro_batch=2)
    for shape in SHAPES
)


def random_model(shape: Shape, dtype: torch.dtype, device: torch.device) -> Any:
    """A causal language model of this shape, made on the device."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(shape.family, **shape.settings)
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config, dtype=dtype)


class Flops(NamedTuple):
    """FLOPs of a step at least: nothing computed twice, no padding.

    Attributes:
        body: Weights of the layers' products.
        head: Weights of the output layer.
        scores: Product of layers and the width of all attention heads.
        trained: Whether the weights take gradients; else an adapter's, which are few.
    """

    body: int
    head: int
    scores: int
    trained: bool

    def forward(self, tokens: int, completion_tokens: int, squares: int) -> float:
        """Of a pass.

        Args:
            tokens: That go through the body.
            completion_tokens: That go through the head.
            squares: The sum of the squares of the sequences' lengths; half of the scores are masked.
        """
        return 2.0 * (self.body * tokens + self.head * completion_tokens + self.scores * squares)

    def both(self, tokens: int, completion_tokens: int, squares: int) -> float:
        """Of a pass and its gradient: one more for the inputs, and one for the weights where they are trained."""
        weights = 2.0 * (self.body * tokens + self.head * completion_tokens) if self.trained else 0.0
        scores = 2.0 * self.scores * squares
        return 2.0 * self.forward(tokens, completion_tokens, squares) + weights + scores


def flops_of(model: Any, trained: bool) -> Flops:
    """What a model's products weigh."""
    head = model.get_output_embeddings().weight
    layers = [module.weight for module in model.modules() if isinstance(module, torch.nn.Linear)]
    body = sum(weight.numel() for weight in layers if weight is not head)
    config = model.config
    width = config.num_attention_heads * (
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )
    return Flops(body, head.numel(), config.num_hidden_layers * width, trained)

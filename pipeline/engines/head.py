"""A transformers model: loaded without noise, its body, and its output layer in the form that `losses.logps` takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from thumbline.losses.logps import Head

from ..errors import EngineError
from .loading import loading

_PROBE_TOKENS = 8


def load_model(model_dir: Path, dtype: torch.dtype) -> Any:
    """The causal language model in a folder, on the CPU, without transformers' own progress bar.

    Raises:
        EngineError: None can be loaded from the folder.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    with loading(f"{model_dir}: transformers cannot load a causal language model", EngineError), no_progress_bar():
        config = with_own_attention(AutoConfig.from_pretrained(model_dir))
        return AutoModelForCausalLM.from_pretrained(model_dir, config=config, dtype=dtype)


@contextmanager
def no_progress_bar() -> Iterator[None]:
    """Transformers' own progress bars off while models are loaded and saved."""
    from transformers.utils import logging as transformers_logging

    had_progress_bar = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if had_progress_bar:
            transformers_logging.enable_progress_bar()


def with_own_attention(config: Any) -> Any:
    """The config, changed in place so that a model made of it computes its attention as it was trained.

    Torch's fused attention leaves out the bound that Gemma 2 puts on scores, without a word.

    Args:
        config: A transformers config.
    """
    if getattr(config.get_text_config(), "attn_logit_softcapping", None) is not None:
        config._attn_implementation = "eager"
    return config


def body_of(model: Any) -> Any:
    """The model below its head: token ids in, last hidden states out."""
    return model.base_model


def head_of(model: Any) -> Head:
    """The model's head: its weight and bias, and what its config does to logits.

    Args:
        model: A transformers causal language model.

    Raises:
        EngineError: The model makes logits in a way that is not known here, seen by comparing a few with its own.
    """
    head = output_layer(model)
    _check(model, head)
    return head


def output_layer(model: Any) -> Head:
    """What `head_of` gives, of a model that was checked before: its weights may be other tensors by now.

    Args:
        model: A transformers causal language model.

    Raises:
        EngineError: It has no output layer.
    """
    layer = model.get_output_embeddings()
    if layer is None or not hasattr(layer, "weight"):
        raise EngineError(f"{type(model).__name__}: no output layer with a weight matrix was found.")
    config = model.config.get_text_config()
    return Head(
        weight=layer.weight,
        bias=getattr(layer, "bias", None),
        scale=float(getattr(config, "logit_scale", None) or 1.0)
        / float(getattr(config, "logits_scaling", None) or 1.0),
        soft_cap=getattr(config, "final_logit_softcapping", None),
    )


@torch.no_grad()
def _check(model: Any, head: Head) -> None:
    """Compare logits made by `head` with the model's own on a few tokens."""
    ids = (
        torch.arange(1, _PROBE_TOKENS + 1, device=head.weight.device)[None] % model.config.get_text_config().vocab_size
    )
    training = model.training
    model.eval()
    own = model(input_ids=ids, use_cache=False).logits.float()
    hidden = body_of(model)(input_ids=ids, use_cache=False).last_hidden_state
    logits = torch.nn.functional.linear(hidden, head.weight, head.bias).float() * head.scale
    if head.soft_cap is not None:
        logits = head.soft_cap * torch.tanh(logits / head.soft_cap)
    model.train(training)
    difference = float((own - logits).abs().max())
    # Rounding in the model's own type, on logits of this size, is all that may differ.
    allowed = float(own.abs().max()) * 16 * torch.finfo(head.weight.dtype).eps
    if difference > allowed:
        raise EngineError(
            f"{type(model).__name__}: its logits differ by {difference:.3g} from hidden states times head, so it does "
            f"something to them that is not known here. Use reference.engine: vllm for scoring, or report the model."
        )

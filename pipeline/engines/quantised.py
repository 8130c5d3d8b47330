"""Models whose layers hold 4-bit weights: what QLoRA trains adapters on, and what is then the reference.

NF4 in blocks of 64, whose scales are quantised once more, by bitsandbytes. Embeddings, norms and head stay bfloat16.

Source: Dettmers et al., QLoRA: Efficient Finetuning of Quantized LLMs (2023), section 3.
"""

import logging
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from thumbline.extras import install_line, missing_words

from ..errors import MissingDependencyError

if TYPE_CHECKING:
    import torch

NF4: Final = "nf4"
_ASKED_BY: Final = "a model with 4-bit weights (nf4)"


def load_nf4(model_dir: Path, place: "torch.device", config: Any = None) -> Any:
    """The causal language model in a folder, its layers in 4 bits, on the device.

    Products are bfloat16: a layer's weights are made again from their 4 bits for each of them.

    Args:
        model_dir: Folder of a transformers model of unquantised weights.
        place: Where it goes; the weights are quantised there.
        config: The model's config where it is not the folder's own.

    Raises:
        MissingDependencyError: bitsandbytes or accelerate is not installed.
        OSError: No causal language model can be loaded from the folder.
        ValueError: Likewise.
    """
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    quiet_bitsandbytes()
    quantised = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=NF4,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    settings = {} if config is None else {"config": config}
    try:
        model = AutoModelForCausalLM.from_pretrained(
            model_dir, quantization_config=quantised, dtype=torch.bfloat16, device_map={"": place}, **settings
        )
    except ImportError as error:
        raise MissingDependencyError(
            f"{_ASKED_BY} needs bitsandbytes and accelerate, of which one is not installed. Install with: "
            f"{install_line('quantised')}"
        ) from error
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            # Without gradients some CPUs would take another layout of the weights, which then takes no gradient.
            module.support_avx512bf16_for_cpu = False
    return model


def quiet_bitsandbytes() -> None:
    """Keep bitsandbytes, which peft imports where it is there, from warning of a CPU kernel that is not used here."""
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


def quantiser() -> str:
    """What quantises here, with its version: a part of what decides the numbers.

    Raises:
        MissingDependencyError: bitsandbytes is not installed.
    """
    try:
        return f"bitsandbytes {metadata.version('bitsandbytes')}"
    except metadata.PackageNotFoundError as error:
        raise MissingDependencyError(missing_words("bitsandbytes", _ASKED_BY)) from error

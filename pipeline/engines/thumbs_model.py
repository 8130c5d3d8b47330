"""A thumbs model: token ids of a prompt and an answer in, one score out, which its calibration makes a rate.

Its folder is one of transformers' sequence classifiers with one label, so that other tools read it as it is.
"""

import gc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import torch

from thumbline.evaluators.rate_calibration import Calibration

from ..errors import EngineError
from ..storage.digests import cached_digest, digest_json
from ..storage.kept import check_kept_folder
from .base import TokenSequence
from .head import body_of, no_progress_bar, with_own_attention
from .loading import loading
from .models import model_digest

CALIBRATION_FILE: Final = "thumbline_calibration.json"
# Padded tokens a forward pass; a fixed number, so that the same sequences give the same bytes.
_BATCH_TOKENS: Final = 4096


class ThumbsModel:
    """A loaded thumbs model."""

    def __init__(self, model: Any, device: torch.device, calibration: Calibration | None) -> None:
        """Take a model in evaluation mode on its device.

        Args:
            model: A transformers sequence classifier with one label.
            device: Where it lies.
            calibration: What makes a rate of a score; None where the model has none.
        """
        self._model, self._device = model, device
        self.calibration = calibration

    def scores(self, sequences: Sequence[TokenSequence]) -> list[float]:
        """The score of each sequence, a logit, in the order given.

        Sequences of one set get the same numbers in any order: they are batched by their lengths and tokens.

        Args:
            sequences: Any number; ids may repeat.

        Raises:
            EngineError: A score is not finite.
        """
        scores = [0.0] * len(sequences)
        for indices in _batches(sequences):
            for index, score in zip(indices, self._pass([sequences[index] for index in indices]), strict=True):
                scores[index] = score
        wrong = [entry.sequence_id for entry, score in zip(sequences, scores, strict=True) if score - score != 0.0]
        if wrong:
            raise EngineError(
                f"thumbs model: the scores of {len(wrong)} of {len(sequences)} sequences are not finite (first: "
                f"{wrong[0]}). Train it with a lower thumbs.learning_rate, or set thumbs.dtype to float32."
            )
        return scores

    @torch.no_grad()
    def _pass(self, batch: Sequence[TokenSequence]) -> list[float]:
        lengths = torch.tensor([_length(entry) for entry in batch])
        input_ids = torch.zeros(len(batch), int(lengths.max()), dtype=torch.int64)
        for row, entry in enumerate(batch):
            input_ids[row, : lengths[row]] = torch.tensor(entry.prompt_token_ids + entry.completion_token_ids)
        attention_mask = (torch.arange(input_ids.shape[1]) < lengths[:, None]).long()
        hidden = body_of(self._model)(
            input_ids=input_ids.to(self._device), attention_mask=attention_mask.to(self._device), use_cache=False
        ).last_hidden_state
        last = hidden[torch.arange(len(batch), device=hidden.device), lengths.to(hidden.device) - 1]
        # One product in float32: its rounding is what a score would keep of half precision.
        found: list[float] = (last.float() @ score_head(self._model).weight.float()[0]).tolist()
        return found

    def close(self) -> None:
        """Free the model's memory."""
        del self._model
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def open_thumbs_model(folder: Path, device: str = "auto", dtype: str = "auto") -> ThumbsModel:
    """The thumbs model in a folder, with its calibration where it has one.

    Args:
        folder: What the stage `thumbs` made, or any folder of a sequence classifier with one label.
        device: `auto` is a GPU where there is one; else `cpu`, `cuda` or `cuda:N`.
        dtype: Type of weights and products: `bfloat16`, `float32`, or what `product_dtype` makes of `auto`.

    Raises:
        EngineError: No such model can be loaded from the folder, or its calibration cannot be read.
        TableError: A run made it, and it is not as its stage wrote it.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification

    check_kept_folder(folder)
    place = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    with loading(f"{folder}: no thumbs model can be loaded from this folder", EngineError):
        config = with_own_attention(AutoConfig.from_pretrained(folder))
        if config.num_labels != 1:
            raise EngineError(f"{folder}: a thumbs model gives one score, and this one has {config.num_labels} labels.")
        _refuse_without_head(folder)
        kind = getattr(torch, product_dtype(dtype, place))
        with no_progress_bar():
            model = AutoModelForSequenceClassification.from_pretrained(folder, config=config, dtype=kind)
    score_head(model)
    return ThumbsModel(model.to(place).eval(), place, read_calibration(folder))


def product_dtype(dtype: str, device: torch.device) -> str:
    """The type of matrix products that `auto` means on a device: bfloat16 where it has products of that type.

    Args:
        dtype: `auto`, or a type, which is given back.
        device: Where products are made.
    """
    if dtype != "auto":
        return dtype
    # An AVX2 core makes products of bfloat16 of float32's, at a fiftieth of the speed (`bench_products`).
    slow = device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return "float32" if slow else "bfloat16"


def score_head(model: Any) -> torch.nn.Linear:
    """The layer that makes a score of a hidden state, without a bias.

    Args:
        model: A transformers sequence classifier with one label.

    Raises:
        EngineError: It has none of that form.
    """
    head = getattr(model, "score", None)
    bias: Any = getattr(head, "bias", None)
    if not isinstance(head, torch.nn.Linear) or bias is not None or head.out_features != 1:
        raise EngineError(
            f"{type(model).__name__}: no layer `score` of one output without a bias was found, so it is no thumbs "
            f"model of a causal language model."
        )
    return head


def read_calibration(folder: Path) -> Calibration | None:
    """What makes a rate of the model's scores; None where it was not calibrated.

    Raises:
        EngineError: The file is damaged.
    """
    path = folder / CALIBRATION_FILE
    if not path.is_file():
        return None
    try:
        return Calibration.from_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise EngineError(f"{path}: {error}. Run the thumbs stage again.") from error


def thumbs_digest(folder: Path) -> str:
    """Digest of a thumbs model: weights, config and calibration."""
    path = folder / CALIBRATION_FILE
    return digest_json([model_digest(folder), cached_digest(path) if path.is_file() else None])


def _refuse_without_head(folder: Path) -> None:
    """Transformers would draw a missing head at random, and say so in a warning alone."""
    from safetensors import safe_open

    names: set[str] = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            names |= set(file.keys())
    if names and not any(name.endswith("score.weight") for name in names):
        raise EngineError(f"{folder}: no weight `score.weight` lies here, so it is no thumbs model.")


def _length(entry: TokenSequence) -> int:
    return len(entry.prompt_token_ids) + len(entry.completion_token_ids)


def _batches(sequences: Sequence[TokenSequence]) -> Iterator[list[int]]:
    """Indices of sequences, longest first, in batches of a fixed number of padded tokens."""
    content = [(-_length(entry), entry.prompt_token_ids, entry.completion_token_ids) for entry in sequences]
    batch: list[int] = []
    for index in sorted(range(len(sequences)), key=lambda index: content[index]):
        if batch and _length(sequences[batch[0]]) * (len(batch) + 1) > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch

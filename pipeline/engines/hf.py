"""Scoring with transformers: every machine has it, and it is the yardstick for vLLM."""

import gc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from thumbline.losses.logps import token_logps

from ..config import EngineConfig
from ..errors import EngineError
from .adapters import apply_adapter, merge_adapter, resolve_adapter
from .base import TRANSFORMERS, Score, TokenSequence
from .head import body_of, head_of, load_model, with_own_attention
from .loading import loading
from .quantised import NF4, load_nf4


class HFEngine:
    """A transformers model that scores sequences in padded batches of alike lengths.

    Only completion positions go through the head; the log-sum-exp is float32, sums over tokens are float64.
    """

    def __init__(self, model_dir: Path, config: EngineConfig) -> None:
        """Load the model onto the GPU where there is one, else the CPU.

        Args:
            model_dir: Folder of the model.
            config: Its dtype, batch size, adapter and whether values a token are kept are read.

        Raises:
            EngineError: No causal language model can be loaded from the folder, or the adapter does not fit it.
        """
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = loaded_model(model_dir, config, self._device)
        self._head = head_of(self._model)
        self._batch_tokens = config.batch_tokens
        self._keeps_tokens = config.token_logps
        # How the scores are made, kept beside them: see the vLLM engine, which has several ways.
        self.route = TRANSFORMERS
        self.switches: Sequence[str] = ()

    def settle(self, sample: Sequence[TokenSequence]) -> str:
        """The only way there is."""
        return self.route

    def score(self, sequences: Sequence[TokenSequence]) -> list[Score]:
        """One score a sequence, in the order given."""
        scores: dict[int, Score] = {}
        for batch in _batches(sequences, self._batch_tokens):
            for index, values in zip(batch, self._logps([sequences[index] for index in batch]), strict=True):
                # A long sum keeps the digits of its float32 terms.
                total = float(values.double().sum())
                tokens = tuple(values.tolist()) if self._keeps_tokens else None
                scores[index] = Score(sequences[index].sequence_id, total, len(values), tokens)
        return [scores[index] for index in range(len(sequences))]

    @torch.no_grad()
    def _logps(self, batch: Sequence[TokenSequence]) -> Sequence[torch.Tensor]:
        """(completion tokens,) float32 nats of each sequence, on the CPU."""
        lengths = [len(entry.prompt_token_ids) + len(entry.completion_token_ids) for entry in batch]
        input_ids = torch.zeros(len(batch), max(lengths), dtype=torch.int64)
        attention_mask = torch.zeros_like(input_ids)
        completion_mask = torch.zeros_like(input_ids, dtype=torch.bool)
        for row, (entry, length) in enumerate(zip(batch, lengths, strict=True)):
            input_ids[row, :length] = torch.tensor(entry.prompt_token_ids + entry.completion_token_ids)
            attention_mask[row, :length] = 1
            completion_mask[row, len(entry.prompt_token_ids) : length] = True
        input_ids = input_ids.to(self._device)
        hidden = body_of(self._model)(
            input_ids=input_ids, attention_mask=attention_mask.to(self._device), use_cache=False
        ).last_hidden_state
        # The hidden state at t - 1 predicts the token at t.
        rows, columns = completion_mask.to(self._device).nonzero(as_tuple=True)
        values = token_logps(hidden[rows, columns - 1], self._head, input_ids[rows, columns]).cpu()
        return torch.split(values, [len(entry.completion_token_ids) for entry in batch])

    def close(self) -> None:
        """Free the model's memory."""
        del self._model, self._head
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def loaded_model(model_dir: Path, config: EngineConfig, device: torch.device) -> Any:
    """The causal language model in a folder, with its adapter, as an engine computes with it.

    Args:
        model_dir: Folder of the model.
        config: Its dtype, adapter and quantisation are read.
        device: Where it computes.

    Raises:
        EngineError: None can be loaded from the folder, or the adapter does not fit it.
    """
    if config.quantization == NF4:
        return _quantised_model(model_dir, config.adapter, device).eval()
    model = load_model(model_dir, getattr(torch, config.dtype))
    if config.adapter is not None:
        model = merge_adapter(model, resolve_adapter(config.adapter))
    return model.to(device).eval()


def _quantised_model(model_dir: Path, adapter: str | None, device: torch.device) -> Any:
    from transformers import AutoConfig

    with loading(f"{model_dir}: transformers cannot load it in 4 bits", EngineError):
        config = with_own_attention(AutoConfig.from_pretrained(model_dir))
        model = load_nf4(model_dir, device, config)
    if adapter is not None:
        apply_adapter(model, resolve_adapter(adapter))
    return model


def _batches(sequences: Sequence[TokenSequence], batch_tokens: int) -> Iterator[list[int]]:
    """Indices of sequences, longest first, in batches of at most `batch_tokens` padded tokens."""
    lengths = [len(entry.prompt_token_ids) + len(entry.completion_token_ids) for entry in sequences]
    order = sorted(range(len(sequences)), key=lambda index: (-lengths[index], sequences[index].sequence_id))
    batch: list[int] = []
    for index in order:
        if batch and lengths[batch[0]] * (len(batch) + 1) > batch_tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch

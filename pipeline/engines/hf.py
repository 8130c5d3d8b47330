"""Scoring with transformers: every machine has it, and it is the yardstick for vLLM."""

import gc
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from losses.logps import completion_logps
from pipeline.config import EngineConfig
from pipeline.engines.base import Score, TokenSequence
from pipeline.engines.head import body_of, head_of, load_model


class HFEngine:
    """A transformers model that scores sequences in padded batches of alike lengths.

    Only completion positions go through the head; the log-sum-exp is float32, sums over tokens are float64.
    """

    def __init__(self, model_dir: Path, config: EngineConfig) -> None:
        """Load the model onto the GPU where there is one, else the CPU.

        Args:
            model_dir: Folder of the model.
            config: Its dtype and batch size are read.

        Raises:
            EngineError: No causal language model can be loaded from the folder.
        """
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = load_model(model_dir, getattr(torch, config.dtype)).to(self._device).eval()
        self._head = head_of(self._model)
        self._batch_tokens = config.batch_tokens
        # How the scores are made, kept beside them: see the vLLM engine, which has several ways.
        self.route = "transformers"

    def score(self, sequences: Sequence[TokenSequence]) -> list[Score]:
        """One score a sequence, in the order given."""
        scores: dict[int, Score] = {}
        for batch in _batches(sequences, self._batch_tokens):
            for place, logps in zip(batch, self._logps([sequences[place] for place in batch]), strict=True):
                sequence = sequences[place]
                scores[place] = Score(sequence.sequence_id, logps, len(sequence.completion_token_ids))
        return [scores[place] for place in range(len(sequences))]

    @torch.no_grad()
    def _logps(self, batch: Sequence[TokenSequence]) -> list[float]:
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
        found = completion_logps(hidden, self._head, input_ids, completion_mask.to(self._device))
        return [float(value) for value in found.logps]

    def close(self) -> None:
        """Free the model's memory."""
        del self._model, self._head
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def _batches(sequences: Sequence[TokenSequence], batch_tokens: int) -> Iterator[list[int]]:
    """Places of sequences, longest first, in batches of at most `batch_tokens` padded tokens."""
    lengths = [len(entry.prompt_token_ids) + len(entry.completion_token_ids) for entry in sequences]
    order = sorted(range(len(sequences)), key=lambda place: (-lengths[place], sequences[place].sequence_id))
    batch: list[int] = []
    for place in order:
        if batch and lengths[batch[0]] * (len(batch) + 1) > batch_tokens:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch

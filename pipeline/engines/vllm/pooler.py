"""A vLLM pooler that answers with the log-probs of the tokens that it was given.

vLLM computes the hidden states of a prompt and hands them to a pooler. This one runs the head over completion
positions only, a chunk at a time, and returns each request's summed log-prob and the number of tokens in the sum.
A request whose prompt is processed in several steps keeps its partial results in the pooling state. Where the
prefix cache covered positions that should have been scored, the number is short: the engine looks at it and scores
those again without the cache.
"""

from collections.abc import Set
from typing import Any, Final, NamedTuple

import torch
from vllm.distributed import (
    get_tensor_model_parallel_world_size,
    tensor_model_parallel_all_gather,
    tensor_model_parallel_all_reduce,
)
from vllm.model_executor.layers.pooler import Pooler, PoolingParamsUpdate
from vllm.model_executor.models.interfaces_base import VllmModelForPooling

TASK: Final = "token_classify"
# Key in a request's `extra_kwargs`: the place of its first completion token.
COMPLETION_START: Final = "completion_start"
# Key in a request's `extra_kwargs`: whether the answer holds a value a token.
TOKEN_LOGPS: Final = "token_logps"

# Head rows at a time. On CPU 64 to 512 cost the same, but a float32 head is cast at each call; a GPU wants larger
# products.
_CHUNK_ROWS_CPU: Final = 256
_CHUNK_ROWS_GPU: Final = 2048


class _Rows(NamedTuple):
    """What of a step is scored.

    Attributes:
        positions: (rows,) places in the step's hidden states that predict a completion token.
        targets: (rows,) those tokens.
        spans: Each request's part of the rows.
    """

    positions: torch.Tensor
    targets: torch.Tensor
    spans: list[slice]


class CompletionLogpsPooler(Pooler):  # type: ignore[misc]  # vLLM's classes are untyped here
    """Sums log-probs of each request's completion tokens."""

    def __init__(self, model: Any) -> None:
        """Keep the model whose head is used.

        Args:
            model: The causal language model that owns this pooler.
        """
        super().__init__()
        # Not an attribute that torch would register: the model already holds the pooler as a submodule.
        object.__setattr__(self, "_model", model)

    def get_supported_tasks(self) -> Set[str]:
        """The one pooling task under which requests come."""
        return {TASK}

    def get_pooling_updates(self, task: str) -> Any:
        """Ask vLLM for the token ids beside the hidden states."""
        return PoolingParamsUpdate(requires_token_ids=True)

    def forward(self, hidden_states: torch.Tensor, pooling_metadata: Any) -> list[torch.Tensor | None]:
        """One float64 tensor a finished request, None for an unfinished one.

        A tensor holds the summed log-prob and the token count, then each token's log-prob where that was asked for.

        Args:
            hidden_states: (step tokens, hidden) of all requests in this step.
            pooling_metadata: vLLM's record of which request has which rows.
        """
        cursor = pooling_metadata.get_pooling_cursor()
        rows = _rows_to_score(pooling_metadata, cursor)
        logps = self._token_logps(hidden_states, rows)
        finished = cursor.get_finished_mask()
        answers: list[torch.Tensor | None] = []
        for index, span in enumerate(rows.spans):
            state = pooling_metadata.pooling_states[index]
            if span.stop > span.start:
                state.hidden_states_cache.append(logps[span].clone())
            if not finished[index]:
                answers.append(None)
                continue
            parts = state.hidden_states_cache
            scored = torch.cat(parts).double() if parts else logps[:0].double()
            answer = torch.stack([scored.sum(), scored.new_tensor(float(scored.numel()))])
            options = pooling_metadata.pooling_params[index].extra_kwargs or {}
            answers.append(torch.cat([answer, scored]) if options.get(TOKEN_LOGPS) else answer)
            state.clean()
        return answers

    def _token_logps(self, hidden_states: torch.Tensor, rows: _Rows) -> torch.Tensor:
        """(rows,) float32 nats."""
        device = hidden_states.device
        size = _CHUNK_ROWS_CPU if device.type == "cpu" else _CHUNK_ROWS_GPU
        positions = rows.positions.to(device, non_blocking=True)
        targets = rows.targets.to(device, non_blocking=True)
        parts = [
            self._chunk_logps(hidden_states[positions[start : start + size]], targets[start : start + size])
            for start in range(0, positions.shape[0], size)
        ]
        if not parts:
            return torch.empty(0, dtype=torch.float32, device=device)
        # Rounding can put a sure token's log-prob a hair above 0.
        return torch.cat(parts).clamp(max=0.0)

    def _chunk_logps(self, hidden_states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        model = self._model
        if get_tensor_model_parallel_world_size() > 1:
            return self._sharded_chunk_logps(hidden_states, targets)
        # The model's own way to logits, so that its scale and soft-cap are in them.
        processor = _below_lora(model)
        made = model.compute_logits(hidden_states) if processor is None else processor(model.lm_head, hidden_states)
        logits: torch.Tensor = made.float()
        return logits.gather(-1, targets[:, None])[:, 0] - torch.logsumexp(logits, dim=-1)

    def _sharded_chunk_logps(self, hidden_states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The same where each rank holds a part of the vocabulary: only two numbers a row travel between ranks."""
        head = self._model.lm_head
        shard = head.shard_indices
        processor = _below_lora(self._model) or self._model.logits_processor
        logits: torch.Tensor = processor(head, hidden_states, skip_gather=True).float()
        if shard.num_org_vocab_padding:
            logits[..., -shard.num_org_vocab_padding :] = float("-inf")
        local = torch.logsumexp(logits, dim=-1, keepdim=True)
        normaliser: torch.Tensor = torch.logsumexp(tensor_model_parallel_all_gather(local, dim=-1), dim=-1)
        first, end = shard.org_vocab_start_index, shard.org_vocab_end_index
        here = (targets >= first) & (targets < end)
        own = logits.gather(-1, (targets - first).clamp(0, logits.shape[-1] - 1)[:, None])[:, 0]
        found: torch.Tensor = tensor_model_parallel_all_reduce(torch.where(here, own, torch.zeros_like(own)))
        return found - normaliser


def _below_lora(model: Any) -> Any:
    """The logits processor that one for LoRA adapters wraps; None where none does.

    The wrapper takes one row a request; here are many. It changes nothing for an adapter that leaves the head alone,
    and no other comes here.
    """
    return getattr(getattr(model, "logits_processor", None), "base_layer", None)


def _rows_to_score(pooling_metadata: Any, cursor: Any) -> _Rows:
    scheduled = cursor.num_scheduled_tokens_cpu.tolist()
    ends = cursor.seq_lens_cpu.tolist()
    lengths = pooling_metadata.prompt_lens.tolist()
    token_ids = pooling_metadata.prompt_token_ids_cpu
    positions, targets, spans = [], [], []
    offset = scored = 0
    for index, count in enumerate(scheduled):
        begin = ends[index] - count
        # vLLM warms its pooler up with requests of its own, which name no completion: score them whole.
        start = (pooling_metadata.pooling_params[index].extra_kwargs or {}).get(COMPLETION_START, 1)
        # The hidden state at t - 1 predicts the token at t; the last one predicts nothing that was given.
        low, high = max(start - 1, begin), min(ends[index], lengths[index] - 1)
        if high > low:
            positions.append(torch.arange(offset + low - begin, offset + high - begin))
            targets.append(token_ids[index, low + 1 : high + 1].to(torch.int64))
        width = max(high - low, 0)
        spans.append(slice(scored, scored + width))
        scored += width
        offset += count
    empty = torch.empty(0, dtype=torch.int64)
    return _Rows(torch.cat([empty, *positions]), torch.cat([empty, *targets]), spans)


def scoring_twin(original: type, name: str) -> type:
    """A class that is `original` with a pooler of completion log-probs.

    Args:
        original: A vLLM causal language model's class.
        name: The name it is registered under.
    """

    class ScoringTwin(original, VllmModelForPooling):  # type: ignore[misc]  # the base is known at run time only
        is_pooling_model = True

        def __init__(self, *, vllm_config: Any, prefix: str = "", **other: Any) -> None:
            super().__init__(vllm_config=vllm_config, prefix=prefix, **other)
            self.pooler = CompletionLogpsPooler(self)

    ScoringTwin.__name__ = ScoringTwin.__qualname__ = name
    return ScoringTwin

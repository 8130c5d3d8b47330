"""The model in training as one module: a batch in, log-probs out, so that whatever wraps a module sees one forward."""

from typing import Any, Final, NamedTuple

import torch

from thumbline.losses.logps import Head, SequenceLogps, TokenLogps, by_position, token_logps, token_statistics

from ..engines.head import body_of, output_layer
from .forward import Batch, Scored

# What a model calls a layer that predicts rewards from its states, where it has one.
VALUE_HEAD: Final = "value_head"


class EachToken(NamedTuple):
    """What is known at single completion tokens; 0 outside the mask.

    Attributes:
        logps: (sequences, longest completion) float32 nats; carries the gradient.
        mask: (sequences, longest completion) bool.
        values: (sequences, longest completion) float32, what a value head on the states predicts before each token;
            carries the head's gradient; None without one.
    """

    logps: torch.Tensor
    mask: torch.Tensor
    values: torch.Tensor | None


class ForwardPass(NamedTuple):
    """What one forward pass over a batch gives.

    Attributes:
        completions: Log-probs of completions; carries the gradient.
        prompts: Log-probs of prompts after their first token; None where they were not asked for.
        tokens: Log-probs of single completion tokens, (sequences, longest completion); likewise.
        partners: Log-probs of the completions of further sequences, without a gradient; None where there are none.
        partner_tokens: Those of their single tokens; None where they were not asked for.
        each: Log-probs of single completion tokens without further statistics, and values; None where not asked for.
    """

    completions: SequenceLogps
    prompts: SequenceLogps | None
    tokens: TokenLogps | None
    partners: SequenceLogps | None = None
    partner_tokens: TokenLogps | None = None
    each: EachToken | None = None


class Scorer(torch.nn.Module):
    """A causal language model's body and head."""

    def __init__(self, model: Any, autocast_dtype: torch.dtype | None) -> None:
        """Take the model as it is.

        Args:
            model: A transformers causal language model whose head `engines.head.head_of` has checked.
            autocast_dtype: Type of the forward pass's matrix products; None for the weights' own.
        """
        super().__init__()
        self.model = model
        self.autocast_dtype = autocast_dtype

    def forward(
        self, batch: Batch, tokens: bool = False, partners: Batch | None = None, each: bool = False
    ) -> ForwardPass:
        """Log-probs of a batch on the model's device.

        Args:
            batch: Sequences and what is wanted of them.
            tokens: Whether the log-probs of single completion tokens are wanted as well.
            partners: Sequences that are only measured; they may hang on prompts of the batch.
            each: Whether those are wanted without the statistics that cost as much again, and with values where the
                model has a `value_head`.
        """
        enabled = self.autocast_dtype is not None
        kind = batch.input_ids.device.type
        with torch.autocast(kind, self.autocast_dtype or torch.bfloat16, enabled=enabled):
            states, head = self._states(batch), output_layer(self.model)
            if each:
                own = _each(states, head, batch.completions, getattr(self.model, VALUE_HEAD, None))
                sums = SequenceLogps(own.logps.double().sum(dim=1), own.mask.sum(dim=1))
                return ForwardPass(sums, None, None, each=own)
            single = _single(states, head, batch.completions) if tokens else None
            whole = single.summed() if single is not None else _summed(states, head, batch.completions)
            prompts = None if batch.prompts is None else _summed(states, head, batch.prompts)
            measured = None if partners is None else self._measured(partners, states.detach(), head, tokens=tokens)
        if isinstance(measured, TokenLogps):
            return ForwardPass(whole, prompts, single, measured.summed(), measured)
        return ForwardPass(whole, prompts, single, measured)

    def _states(self, batch: Batch) -> torch.Tensor:
        """(rows times width, hidden) last hidden states."""
        body = body_of(self.model)
        hidden: torch.Tensor = body(input_ids=batch.input_ids, use_cache=False, **batch.attention).last_hidden_state
        return hidden.flatten(0, 1)

    @torch.no_grad()
    def _measured(
        self, partners: Batch, states: torch.Tensor, head: Head, *, tokens: bool
    ) -> SequenceLogps | TokenLogps:
        """Log-probs of partners, after the pass that gave `states`."""
        own = self._states(partners)
        if partners.carried is not None:
            own = torch.cat([states[partners.carried], own])
            partners.attention["segments"].prefixes.close()
        return _single(own, head, partners.completions) if tokens else _summed(own, head, partners.completions)


def _each(states: torch.Tensor, head: Head, wanted: Scored, value_head: Any) -> EachToken:
    own = states[wanted.places]
    mask = torch.arange(int(wanted.counts.max()), device=states.device) < wanted.counts[:, None]
    logps = by_position(token_logps(own, head, wanted.targets), mask)
    values = None if value_head is None else by_position(value_head(own), mask)[wanted.asked]
    return EachToken(logps[wanted.asked], mask[wanted.asked], values)


def _summed(states: torch.Tensor, head: Head, wanted: Scored) -> SequenceLogps:
    """Summed log-probs of each sequence; (places, hidden) states."""
    values = token_logps(states[wanted.places], head, wanted.targets).double()
    sums = values.new_zeros(len(wanted.counts)).index_add(0, wanted.owners, values)
    return SequenceLogps(sums[wanted.asked], wanted.counts[wanted.asked])


def _single(states: torch.Tensor, head: Head, wanted: Scored) -> TokenLogps:
    output = token_statistics(states[wanted.places], head, wanted.targets)
    longest = int(wanted.counts.max())
    mask = torch.arange(longest, device=states.device) < wanted.counts[:, None]
    values = TokenLogps(by_position(output.logps, mask), by_position(output.log_sum_squares, mask), mask)
    return TokenLogps(*(value[wanted.asked] for value in values))

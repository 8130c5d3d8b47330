"""The autograd function behind `losses.logps`: a pass over the head tile by tile, and its gradient.

What a token's gradient takes of a tile (`losses.tiles`) is its shares times one number, known once all tiles are
passed. So with shares kept, the backward pass is two matrix products a tile and nothing a logit. They are kept up to a
number of bytes, in the type that the products take; those beyond it are computed again, to the same values. Where the
head takes no gradient (adapters) neither is needed: the forward pass keeps each token's gradient, tokens x hidden.
"""

from typing import Any, NamedTuple

import torch

from .head_gradients import HeadGradients, Tokens
from .tiles import Rows, Settings, Spread, Tile, blocks, pass_tile, product, tile_rows


class HeadOutput(NamedTuple):
    """What a pass gives, each (tokens,) float32 nats; the last two are empty where they were not asked for.

    Attributes:
        logps: Log-probs of the targets; carries the gradient.
        entropies: -sum_v p(v) log p(v); no gradient.
        log_sum_squares: log sum_v p(v)^2; no gradient.
    """

    logps: torch.Tensor
    entropies: torch.Tensor
    log_sum_squares: torch.Tensor


class _Mixture(NamedTuple):
    """(tokens,) what parts of the probability so far lie in the tiles before, and in the new one."""

    before: torch.Tensor
    new: torch.Tensor


class _Totals:
    """What is known of each token over the tiles passed so far.

    Attributes:
        log_mass: (tokens,) log-sum-exp of the logits.
        target_logits: (tokens,).
        spread: Of the distribution so far, where it was asked for.
    """

    def __init__(self, tokens: int, device: torch.device, *, statistics: bool) -> None:
        """Start before the first tile."""
        self.log_mass = torch.full((tokens,), -torch.inf, dtype=torch.float32, device=device)
        self.target_logits = torch.zeros_like(self.log_mass)
        held = self.log_mass if statistics else self.log_mass[:0]
        self.spread = Spread(torch.zeros_like(held), held.clone())

    def add(self, block: slice, tile: Tile) -> _Mixture:
        """Take in a tile of some tokens."""
        before = self.log_mass[block]
        after = torch.logaddexp(before, tile.log_mass)
        mixture = _Mixture(torch.exp(before - after), torch.exp(tile.log_mass - after))
        self.log_mass[block] = after
        self.target_logits[block] = torch.where(tile.own, tile.target_logits, self.target_logits[block])
        if tile.spread is not None:
            self._mix(block, tile.spread, mixture)
        return mixture

    def _mix(self, block: slice, new: Spread, mixture: _Mixture) -> None:
        entropies, log_squares = (values[block] for values in self.spread)
        between = sum(torch.special.entr(part) for part in mixture)
        self.spread.entropies[block] = mixture.before * entropies + mixture.new * new.entropies + between
        self.spread.log_squares[block] = torch.logaddexp(
            log_squares + 2.0 * mixture.before.log(), new.log_squares + 2.0 * mixture.new.log()
        ).clamp_(max=0.0)

    def logps(self) -> torch.Tensor:
        """(tokens,) of the targets, once all tiles are passed."""
        # Rounding can put a sure token's log-prob a hair above 0.
        return (self.target_logits - self.log_mass).clamp(max=0.0)

    def own_factors(self, settings: Settings) -> torch.Tensor:
        """(tokens,) d(log-prob) / d(the target's logit before scale and cap), once all tiles are passed."""
        factors = -torch.expm1(self.logps()) * settings.scale
        return factors if settings.soft_cap is None else factors * (1.0 - (self.target_logits / settings.soft_cap) ** 2)


class _Scan:
    """A pass over the head, tile by tile.

    Attributes:
        totals: What is known of each token.
        tile_masses: A (tokens,) log-sum-exp of each tile passed.
        kept: Shares of tiles and blocks in the order in which they were passed, as many as there was room for.
        pull: (tokens, hidden) float32, the mean of head rows under the shares so far; None where it is not wanted.
    """

    def __init__(
        self, hidden_states: torch.Tensor, targets: torch.Tensor, settings: Settings, *, keep: bool, pull: bool
    ) -> None:
        """Start before the first tile."""
        self._hidden, self._targets, self._settings = hidden_states.to(settings.compute_dtype), targets, settings
        self._room = settings.kept_bytes if keep else 0
        self.totals = _Totals(targets.shape[0], targets.device, statistics=settings.statistics)
        self.tile_masses: list[torch.Tensor] = []
        self.kept: list[torch.Tensor] = []
        self.pull = torch.zeros_like(hidden_states, dtype=torch.float32) if pull else None

    def add(self, rows: Rows) -> None:
        """Pass one tile."""
        masses = torch.empty_like(self.totals.log_mass)
        for block in blocks(self._hidden):
            tile = pass_tile(self._hidden[block], rows, self._targets[block], self._settings)
            mixture = self.totals.add(block, tile)
            masses[block] = tile.log_mass
            self._keep(tile.shares)
            if self.pull is not None:
                pulled = product(tile.shares, rows.weight, self._settings)
                self.pull[block] = self.pull[block].mul_(mixture.before[:, None]).addcmul_(mixture.new[:, None], pulled)
        self.tile_masses.append(masses)

    def _keep(self, shares: torch.Tensor) -> None:
        fits = shares.nbytes <= self._room
        # What is kept is a beginning, so that the backward pass knows by its number what it has.
        self._room = self._room - shares.nbytes if fits else 0
        if fits:
            self.kept.append(shares)


class HeadPass(torch.autograd.Function):
    """Log-probs of targets from hidden states and a head."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_states: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        settings: Settings,
    ) -> HeadOutput:
        """Log-probs and statistics; what takes a gradient decides what is kept for it."""
        by_states, *by_head = (needed and settings.differentiable for needed in ctx.needs_input_grad[:3])
        ctx.settings, ctx.head_trains = settings, any(by_head)
        scan = _Scan(hidden_states, targets, settings, keep=ctx.head_trains, pull=by_states and not any(by_head))
        for rows in tile_rows(weight, bias, settings):
            scan.add(rows)
        own = scan.totals.own_factors(settings)
        if ctx.head_trains:
            # A share times this is the logit's part in minus the log-prob.
            factors = torch.exp(torch.stack(scan.tile_masses) - scan.totals.log_mass).mul_(settings.scale)
            ctx.save_for_backward(hidden_states, weight, bias, targets, own, factors, *scan.kept)
        elif scan.pull is not None:
            by_token = weight[targets].float().mul_(own[:, None]).sub_(scan.pull, alpha=settings.scale)
            ctx.save_for_backward(by_token.to(hidden_states.dtype))
        ctx.mark_non_differentiable(*scan.totals.spread)
        return HeadOutput(scan.totals.logps(), *scan.totals.spread)

    @staticmethod
    def backward(ctx: Any, grad_logps: torch.Tensor, *_: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradients of hidden states, weight and bias."""
        if not ctx.head_trains:
            (by_token,) = ctx.saved_tensors
            return (grad_logps[:, None] * by_token).to(by_token.dtype), None, None, None, None
        hidden_states, weight, bias, targets, own, factors, *kept = ctx.saved_tensors
        tokens = Tokens(hidden_states, targets, own * grad_logps)
        with torch.autocast(hidden_states.device.type, enabled=False):
            gradients = HeadGradients(tokens, weight, bias, ctx.needs_input_grad, kept, ctx.settings)
            for rows, factor in zip(tile_rows(weight, bias, ctx.settings), factors, strict=True):
                gradients.add(rows, -grad_logps * factor)
            return gradients.states(), gradients.weight, gradients.bias, None, None

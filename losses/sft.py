"""The negative log-likelihood of the chosen completion: alone, or the added term of RPO, ORPO and CPO."""

from dataclasses import dataclass

from torch import Tensor

from losses.checks import require_one_of
from losses.numerics import at_least_float32
from losses.pairs import nonzero_counts, pair_output, policy_logps
from losses.types import LossInputError, LossOutput, PairLogps

NLL_TOKENS = ("completion", "prompt_and_completion")
NLL_MEANS = ("example", "batch")


@dataclass(frozen=True)
class SftConfig:
    """Settings of the SFT term.

    Attributes:
        nll_tokens: `completion`, or `prompt_and_completion`.
        nll_mean: `example`: each pair's mean over its tokens, so that pairs count alike; `batch`: over all
            tokens of the batch (TRL's reading), so that tokens count alike.
    """

    nll_tokens: str = "completion"
    nll_mean: str = "example"

    def __post_init__(self) -> None:
        """Refuse unknown settings."""
        require_one_of(self, NLL_TOKENS, nll_tokens=self.nll_tokens)
        require_one_of(self, NLL_MEANS, nll_mean=self.nll_mean)


def sft(batch: PairLogps, config: SftConfig) -> LossOutput:
    """Return the chosen completion's negative log-likelihood a token, for each pair.

    Args:
        batch: pairs with token counts; with `policy_prompt_chosen_logps` where the prompt is covered.
        config: see `SftConfig`.

    Raises:
        LossInputError: the tokens' log-probs or counts are missing, or a completion is empty.

    Source: Pang et al. 2024 (arXiv 2404.19733) eq. 1 for the term beside DPO (RPO).
    """
    return pair_output(chosen_nll(batch, config), policy_logps(batch), batch)


def chosen_nll(batch: PairLogps, config: SftConfig) -> Tensor:
    """Return (batch,) values, nats a token, whose mean over the batch is the negative log-likelihood.

    With `nll_mean: batch` a row's value is its summed NLL times `rows / tokens of the batch`: only the mean
    over rows has a meaning then.

    Raises:
        LossInputError: the tokens' log-probs or counts are missing, or a completion is empty.
    """
    if config.nll_tokens == "completion":
        logps, counts, names = batch.policy_chosen_logps, batch.chosen_token_counts, "chosen_token_counts"
    else:
        logps, counts = batch.policy_prompt_chosen_logps, batch.prompt_chosen_token_counts
        names = "policy_prompt_chosen_logps and prompt_chosen_token_counts"
    if logps is None or counts is None:
        raise LossInputError(f"the NLL over {config.nll_tokens} needs {names}, and the batch has none.")
    summed = -at_least_float32(logps)
    if config.nll_mean == "example":
        return summed / nonzero_counts(counts, names)
    tokens = counts.sum() if batch.sft_token_count is None else batch.sft_token_count
    return summed * (summed.shape[0] / tokens.clamp(min=1))

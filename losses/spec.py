"""What a method says of itself: all that whoever prepares rows for it, trains with it or evaluates it asks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch

from .rollouts import Credit, Rollouts
from .types import UnpairedLogps


class ClassCounts(NamedTuple):
    """Names of the hyper-parameters that hold how many rows of each class are trained on."""

    desirable: str
    undesirable: str


# A fact of a method: fixed, or a function of its hyper-parameters.
Fact = bool | Callable[[Any], bool]


@dataclass(frozen=True)
class LossSpec:
    """One method: all that whoever prepares, trains or evaluates it needs to know.

    Attributes:
        title: Name as papers write it.
        function: (batch, config) -> output; batch is PairLogps where `paired`, else UnpairedLogps.
        config: Frozen dataclass of its hyper-parameters.
        paired: Whether it takes pairs.
        needs_reference: Whether it takes reference log-probs, and its reward is a log-ratio to them; else the reward is
            the policy's own log-prob.
        when: When to use it, in one sentence.
        step_statistic: A value over all rows of an optimiser step that each part of it needs (KTO's z0).
        statistic_of_parts: Whether each part of a step takes that value of its own rows: so set, or the same in all.
        statistic_runs: Whether that value, or of pairs their margins' mean, goes on over the whole run
            (`UnpairedLogps.seen`, `PairLogps.seen_margins`).
        by_batch: Whether a row's loss depends on the other rows of the batch beyond `step_statistic`, so that a step
            cut into parts is another loss than the step at once.
        per_token: Whether its reward is a mean over a completion's tokens instead of their sum.
        reward_scale: The hyper-parameter that its reward is multiplied by; None: by nothing.
        needs_mismatched: Whether it takes completions of other prompts (`UnpairedLogps.policy_mismatched_logps`).
        needs_prompt_nll: Whether it takes the likelihood of the prompt too (`PairLogps.prompt_chosen_nll`).
        class_counts: The hyper-parameters that hold how many desirable and undesirable rows are trained on.
        takes_weights: Whether rows of one batch may weigh differently.
        liked_only: Whether it learns from desirable rows alone, so that no others are trained on.
    """

    title: str
    function: Callable[..., Any]
    config: type
    paired: bool
    needs_reference: bool
    when: str
    step_statistic: Callable[[UnpairedLogps, Any], torch.Tensor] | None = None
    statistic_of_parts: Fact = False
    statistic_runs: Fact = False
    by_batch: Fact = False
    per_token: Fact = False
    reward_scale: str | None = "beta"
    needs_mismatched: Fact = False
    needs_prompt_nll: Fact = False
    class_counts: ClassCounts | None = None
    takes_weights: bool = True
    liked_only: bool = False
    # Whether it trains on answers that the policy writes while it trains: those specs are `RolloutSpec`.
    samples_answers: ClassVar[bool] = False

    @property
    def weights_held(self) -> str:
        """Models in memory while training, in words: policy and reference; stored log-probs take the second's place."""
        return "2x (1x stored)" if self.needs_reference else "1x"

    @property
    def data(self) -> str:
        """What it trains on, in a word."""
        return self.rows

    @property
    def rows(self) -> Literal["pairs", "unpaired"]:
        """The kind of rows that it takes."""
        return "pairs" if self.paired else "unpaired"

    def counted(self, settings: Mapping[str, Any], desirable: int, undesirable: int) -> dict[str, Any]:
        """Hyper-parameters with the classes' counts, where it takes them and they are not set.

        Args:
            settings: Hyper-parameters as set.
            desirable: Desirable rows that are trained on.
            undesirable: Undesirable ones.
        """
        if self.class_counts is None:
            return dict(settings)
        return {self.class_counts.desirable: desirable, self.class_counts.undesirable: undesirable} | dict(settings)


@dataclass(frozen=True)
class RolloutSpec(LossSpec):
    """A method on answers that the policy writes while it trains, and that a reward model scores.

    Its `function` maps (RolloutBatch, config) to a RolloutLossOutput; `paired` is False, and `needs_reference` True:
    its optimum is that of DPO, so that its implicit reward is the log-ratio to the reference times `reward_scale`.

    Attributes:
        credit: What each token of sampled answers is worth: (Rollouts, config) -> Credit.
        mean_over: What the losses of an update are averaged over.
        has_values: Whether a value head predicts the reward to come.
        least_samples: Answers a prompt that it takes at least.
    """

    credit: Callable[[Rollouts, Any], Credit] | None = None
    mean_over: Literal["tokens", "answers"] = "tokens"
    has_values: bool = False
    least_samples: int = 1
    samples_answers: ClassVar[bool] = True

    @property
    def weights_held(self) -> str:
        """Policy, reference, reward model, and a value model where there is one; an adapter needs no reference."""
        return "3x to 4x (2x with an adapter)" if self.has_values else "3x (2x with an adapter)"

    @property
    def data(self) -> str:
        """What it trains on, in a word."""
        return "prompts"

    def credit_of(self, rollouts: Rollouts, config: Any) -> Credit:
        """What each token is worth.

        Raises:
            ValueError: The spec names no function for it.
        """
        if self.credit is None:
            raise ValueError(f"{self.title}: its description names no function that gives credit to tokens.")
        return self.credit(rollouts, config)


@dataclass(frozen=True)
class Method:
    """A method with its hyper-parameters.

    Attributes:
        name: Its name in `LOSSES`.
        spec: What holds whatever its hyper-parameters.
        config: Its hyper-parameters.
    """

    name: str
    spec: LossSpec
    config: Any

    @property
    def takes_whole_steps(self) -> bool:
        """Whether a row's loss depends on its batch, so that a step cut into parts is another loss."""
        return self._holds(self.spec.by_batch)

    @property
    def statistic_of_parts(self) -> bool:
        """Whether each part of a step takes its `step_statistic` of its own rows alone."""
        return self._holds(self.spec.statistic_of_parts)

    @property
    def statistic_runs(self) -> bool:
        """Whether its `step_statistic` goes on over the whole run."""
        return self._holds(self.spec.statistic_runs)

    @property
    def per_token(self) -> bool:
        """Whether its reward is a mean over a completion's tokens instead of their sum."""
        return self._holds(self.spec.per_token)

    @property
    def reward_scale(self) -> float:
        """What its reward is multiplied by."""
        return 1.0 if self.spec.reward_scale is None else float(getattr(self.config, self.spec.reward_scale))

    @property
    def needs_mismatched(self) -> bool:
        """Whether it takes completions of other prompts."""
        return self._holds(self.spec.needs_mismatched)

    @property
    def needs_prompt_nll(self) -> bool:
        """Whether it takes the likelihood of the prompt too."""
        return self._holds(self.spec.needs_prompt_nll)

    def _holds(self, fact: Fact) -> bool:
        return fact if isinstance(fact, bool) else fact(self.config)

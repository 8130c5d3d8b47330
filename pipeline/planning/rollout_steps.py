"""What a step on sampled answers holds and computes beside its updates, on shapes, by the code that does it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch

from ..config import TrainConfig
from ..config.asking import ThumbsConfig
from ..engines.base import TokenSequence
from ..engines.head import body_of, with_own_attention
from ..engines.loading import loading
from ..engines.models import resolve_model
from ..engines.sampling import Draw, SamplingSettings
from ..engines.sampling_hf import ModelSampler, Prompt, batches
from ..engines.thumbs_model import ThumbsModel, product_dtype
from ..errors import InputError
from ..training.dropout import without_dropout
from ..training.policy import Policy
from ..training.rollouts.reference import Reference
from ..training.rollouts.sampling import as_it_answers
from ..training.rollouts.values import VALUE_MODEL, add_values, own_values
from ..training.rows import Row, TrainingSequence
from .ledger import Ledger
from .models import with_layers
from .rollout_work import Sampled
from .shapes import Shapes

# What each part of a step is called where its operations are kept.
PREFILL: Final = "prefill"
DECODE: Final = "decode"
OWN_PASS: Final = "own pass"
REFERENCE_PASS: Final = "reference pass"
# Phases: prompts are read and answers begin, answers end.
_SAMPLING: Final = ("sampling 1", "sampling 2")


class Scored(NamedTuple):
    """What scoring by the thumbs model takes.

    Attributes:
        weights: Bytes of the model.
        peak: Bytes that come and go in its forward pass.
        flops: Floating-point operations a token.
    """

    weights: float
    peak: float
    flops: float


@dataclass(frozen=True)
class RolloutSteps:
    """What samples and scores, beside a policy on the meta device.

    Attributes:
        config: The whole model's.
        train: Settings of training.
        sampled: What is sampled.
    """

    config: Any
    train: TrainConfig
    sampled: Sampled

    def add(self, policy: Policy, config: Any) -> Reference:
        """The reference of a policy, which is then given what predicts rewards.

        Args:
            policy: On the meta device.
            config: Its own, of all layers or of the first ones.
        """
        reference = Reference(policy)
        if getattr(self._spec, "has_values", False):
            if self.train.rollouts.value_model == "policy":
                add_values(policy, self.train, Path())
            else:
                held = getattr(torch, self.train.weights)
                setattr(policy.model, VALUE_MODEL, self._classifier(config, held).train())
        return reference

    @property
    def _spec(self) -> Any:
        from ..training.methods import main_method

        return main_method(self.train).spec

    def _classifier(self, config: Any, dtype: torch.dtype) -> Any:
        """A model with the thumbs model's shape, on the meta device."""
        from transformers import AutoModelForSequenceClassification

        with loading("thumbs: transformers knows no sequence classifier of this config", InputError):
            shape = without_dropout(with_own_attention(thumbs_config(self.sampled.thumbs, self.config, config)))
            with torch.device("meta"):
                return AutoModelForSequenceClassification.from_config(shape, dtype=dtype)

    def run(
        self, policy: Policy, reference: Reference, rows: Sequence[Row], attention: str, shapes: Shapes
    ) -> Mapping[str, float]:
        """Sample and score, phase by phase; returns operations by part.

        Args:
            policy: With shapes for weights.
            reference: Likewise.
            rows: Answers of two forward passes.
            attention: What the policy attends by where it is not trained over segments.
            shapes: Entered.
        """
        found = self._sample(policy, attention, shapes)
        if sampling_engine(self.train) != "hf":
            # vLLM computes the same, in a process of its own.
            for phase in _SAMPLING:
                shapes.ledger.peaks.pop(phase, None)
        sequences = [row.sequences[0] for row in rows]
        shapes.ledger.phase, shapes.ledger.kind = "scoring", "activations"
        with torch.no_grad():
            found[OWN_PASS] = _counted(shapes, lambda: self._own_pass(policy, sequences))
            found[REFERENCE_PASS] = _counted(shapes, lambda: reference.each_token(sequences))
        return found

    def _own_pass(self, policy: Policy, sequences: Sequence[TrainingSequence]) -> None:
        policy.pass_over(sequences, each=True)
        own_values(policy, sequences)

    def _sample(self, policy: Policy, attention: str, shapes: Shapes) -> dict[str, float]:
        """Prompts, then the first and the last token behind them: what lies between grows evenly."""
        ledger, new = shapes.ledger, self.sampled.new_tokens
        ledger.phase, ledger.kind = _SAMPLING[0], "sampling"
        dtype: torch.dtype | None = getattr(policy.scorer, "autocast_dtype", None)
        with (
            as_it_answers(policy, attention),
            torch.no_grad(),
            torch.autocast(policy.device.type, dtype or torch.bfloat16, enabled=dtype is not None),
        ):
            settings = SamplingSettings(new, 1.0, 1.0, 0, ())
            sampler = ModelSampler(policy.model, policy.device, settings, 1, asked_by="train")
            prompts = self._largest_batch()
            first = _Decoding(policy, sampler, prompts, shapes)
            prefill, early = first.prefill(), first.step() if new > 1 else 0.0
            del first
            # What leads up to the last token is no part of it.
            ledger.phase = "elsewhere"
            last = _Decoding(policy, sampler, _longer(prompts, new - 2), shapes)
            last.prefill()
            ledger.phase = _SAMPLING[1]
            late = last.step() if new > 1 else 0.0
        ledger.peaks.pop("elsewhere", None)
        return self._of_all(prompts, prefill, (new - 1) * (early + late) / 2)

    def _largest_batch(self) -> list[Prompt]:
        own = self.sampled
        draws = [Draw(prompt, number) for prompt in own.prompts for number in range(own.samples)]
        return next(batches(draws, own.reference.batch_tokens))

    def _of_all(self, prompts: Sequence[Prompt], prefill: float, decode: float) -> dict[str, float]:
        """Operations of an average step, from those of one batch of prompts."""
        own = self.sampled
        read, answers = sum(len(one.token_ids) for one in prompts), sum(len(one.draws) for one in prompts)
        return {PREFILL: prefill * own.prompt_tokens / read, DECODE: decode * own.answers / answers}

    def scored(self, device: torch.device) -> Scored:
        """What the thumbs model takes, with batches of its own size.

        Args:
            device: Kind of device, which decides its type.
        """
        dtype = getattr(torch, product_dtype(self.sampled.thumbs.dtype, device))
        model, ledger = self._classifier(self.config, dtype).eval(), Ledger()
        shapes = Shapes(ledger)
        shapes.fill(model, lambda _: "thumbs")
        own = self.sampled
        longest = max(own.prompts, key=len)
        answers = [
            TokenSequence(str(number), longest, (number % 256,) * own.new_tokens)
            for number in range(round(own.answers))
        ]
        with shapes:
            ledger.kind, ledger.phase = "activations", "scoring"
            thumbs = ThumbsModel(model, torch.device("cpu"), None)
            flops = _counted(shapes, lambda: thumbs.scores(answers))
        weights = sum(weight.numel() * weight.itemsize for weight in model.parameters())
        tokens = len(answers) * (len(longest) + own.new_tokens)
        return Scored(float(weights), float(ledger.peaks["scoring"].get("activations", 0)), flops / tokens)


class _Decoding:
    """A batch of prompts that is read, and then grows."""

    def __init__(self, policy: Policy, sampler: ModelSampler, prompts: Sequence[Prompt], shapes: Shapes) -> None:
        self._policy, self._sampler, self._prompts, self._shapes = policy, sampler, prompts, shapes
        self._answers = sum(len(prompt.draws) for prompt in prompts)
        self._batch: Any = None

    def prefill(self) -> float:
        """Operations of reading the prompts, and of drawing a token behind each."""

        def read() -> None:
            self._batch = self._sampler.prefill(self._prompts)
            self._pick()

        return _counted(self._shapes, read)

    def step(self) -> float:
        """Operations of one token more in each answer."""

        def grow() -> None:
            self._batch.step(body_of(self._policy.model), torch.zeros(self._answers, dtype=torch.int64))
            self._pick()

        return _counted(self._shapes, grow)

    def _pick(self) -> None:
        self._sampler.pick(self._batch.hidden, torch.zeros(self._answers, dtype=torch.float64))


def _longer(prompts: Sequence[Prompt], tokens: int) -> list[Prompt]:
    return [prompt._replace(token_ids=(*prompt.token_ids, *(0 for _ in range(tokens)))) for prompt in prompts]


def _counted(shapes: Shapes, work: Any) -> float:
    """Operations of some work."""
    before = shapes.flops
    work()
    return float(shapes.flops - before)


def thumbs_config(thumbs: ThumbsConfig, whole: Any, config: Any) -> Any:
    """The config of a thumbs model: of its own folder, of the model's first layers, or of all that there are.

    Args:
        thumbs: Its settings.
        whole: The model's.
        config: The same with the layers that a model without `thumbs.layers` has.
    """
    from transformers import AutoConfig

    if thumbs.model is not None:
        own = AutoConfig.from_pretrained(resolve_model(thumbs.model, None))
    else:
        layers = thumbs.layers or config.get_text_config().num_hidden_layers
        own = with_layers(whole, min(layers, whole.get_text_config().num_hidden_layers))
    own.num_labels = 1
    return own


def sampling_engine(train: TrainConfig) -> str:
    """`hf` or `vllm`: what would sample on the machine that trains, where `auto` is vLLM if it is installed here."""
    from importlib.util import find_spec

    engine = train.rollouts.engine
    return engine if engine != "auto" else ("vllm" if find_spec("vllm") else "hf")

"""The thumbs model as a judge: the number that it gives an answer, a logit, which evaluators make a rate of.

An answer is put into the chat template anew, as the logged answers were on which the model was trained and calibrated:
one that was cut while it was sampled ends like one that was not.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from ..config import SequencesConfig
from ..config.base import StageConfig
from ..context import Advance
from ..engines.base import TokenSequence
from ..engines.encoded import Encoded
from ..engines.models import model_digest, resolve_model, tokenizer_digest
from ..errors import ConfigError
from .base import Answer, Judgement, JudgeSpec, Surroundings

if TYPE_CHECKING:
    # It loads torch, which `thumbline judges` should not wait for.
    from ..engines.encoding import Encoder
    from ..engines.thumbs_model import ThumbsModel

# Nothing is too long to be judged: what was sampled is judged whole.
_ANY_LENGTH: Final = 1 << 31
# Stands where an answer has no text, so that its turn is written; only the turn's end is kept of it.
_SOME_TEXT: Final = "x"
# Answers scored together: a fixed number, since a batch's make-up moves last bits.
_TOGETHER: Final = 256


class ThumbsOptions(StageConfig):
    """Which model judges."""

    model: str | None = Field(None, description="Folder or hub id of another thumbs model than the run's own.")


class ThumbsJudge:
    """A thumbs model with the tokenizer in its folder."""

    def __init__(self, model: "ThumbsModel", encoder: "Encoder", name: str) -> None:
        """Take both loaded."""
        self._model, self._encoder, self._name = model, encoder, name
        self._refused: Counter[str] = Counter()

    def judge(self, answers: Sequence[Answer], advance: Advance) -> list[Judgement]:
        """The model's logit of each answer; one that its template does not write has none."""
        made: list[Judgement] = []
        for start in range(0, len(answers), _TOGETHER):
            part = answers[start : start + _TOGETHER]
            made += self._part(part)
            advance(len(part))
        return made

    def _part(self, answers: Sequence[Answer]) -> list[Judgement]:
        found = [_sequence(*pair) for pair in zip(answers, self._encoded(answers), strict=True)]
        sequences = [one for one in found if isinstance(one, TokenSequence)]
        scores = iter(self._model.scores(sequences) if sequences else [])
        made = [Judgement(None, one) if isinstance(one, str) else Judgement(float(next(scores))) for one in found]
        self._refused.update(one.reason for one in made if one.reason is not None)
        return made

    def _encoded(self, answers: Sequence[Answer]) -> list[Encoded]:
        """Token ids of each answer; of one without a text its prompt and the end token.

        No logged answer is empty, and the encoder takes none; but a model that says nothing must not get away with it.
        """
        said = [answer.completion if answer.completion.strip() else _SOME_TEXT for answer in answers]
        encoded = self._encoder.encode(
            [answer.prompt for answer in answers],  # type: ignore[misc]  # messages are mappings here
            said,
            None,
            [answer.tools for answer in answers],
        )
        return [
            one if answer.completion.strip() else one._replace(completion_token_ids=one.completion_token_ids[-1:])
            for answer, one in zip(answers, encoded, strict=True)
        ]

    def facts(self) -> Mapping[str, Any]:
        """Answers that the model could not be given."""
        told = ", ".join(f"{reason} {count:,}" for reason, count in sorted(self._refused.items()))
        return {"said": [f"{self._name}: answers that the thumbs model cannot be given: {told}."] if told else []}

    def close(self) -> None:
        """Free the model's memory."""
        self._model.close()


def _sequence(answer: Answer, encoded: Encoded) -> TokenSequence | str:
    """The answer as the model reads it, or why it cannot: a word."""
    if encoded.drop_reason is not None:
        return encoded.drop_reason
    return TokenSequence(answer.generation_id, tuple(encoded.prompt_token_ids), tuple(encoded.completion_token_ids))


def open_thumbs(options: ThumbsOptions, surroundings: Surroundings) -> ThumbsJudge:
    """The run's thumbs model, or the one that the options name, loaded.

    Raises:
        ConfigError: There is neither.
        InputError: The folder holds no such model.
    """
    from ..engines.encoding import load_encoder
    from ..engines.thumbs_model import open_thumbs_model

    folder = _folder(options, surroundings)
    text: SequencesConfig = surroundings.text
    encoder = load_encoder(folder, text.template, _ANY_LENGTH, "drop", text.template_options, system=text.system)
    return ThumbsJudge(
        open_thumbs_model(folder, device=surroundings.device, dtype=surroundings.dtype), encoder, surroundings.name
    )


def _folder(options: ThumbsOptions, surroundings: Surroundings) -> Path:
    if options.model is not None:
        return resolve_model(options.model)
    if surroundings.thumbs_model is None:
        raise ConfigError(
            f"judges: {surroundings.name} needs a thumbs model: set thumbs.method, or options: {{model}}."
        )
    return surroundings.thumbs_model


def _depends(options: ThumbsOptions) -> Mapping[str, str]:
    """Digests of a model from elsewhere; the run's own is an input of the stage."""
    if options.model is None:
        return {}
    folder = resolve_model(options.model)
    return {"model": model_digest(folder), "tokenizer": tokenizer_digest(folder)}


def _check(options: ThumbsOptions) -> None:
    """Raise where the model that the options name is not there."""
    if options.model is not None:
        resolve_model(options.model)


SPEC: Final = JudgeSpec(
    "The thumbs model: how likely a thumb up is.", False, ThumbsOptions, open_thumbs, _depends, check=_check
)

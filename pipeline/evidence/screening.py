"""Which texts are left out: too short or long, of another language, or holding secrets or personal data.

Everything here is off by default, and what it drops is counted by reason. Secrets are found by detect-secrets'
patterns (without its entropy detectors, which flag prose), phone numbers by phonenumbers, card and bank account
numbers by the check digits of python-stdnum, e-mail addresses by their form, languages by py3langid. All work offline.
Screening finds what has a form: names and addresses in prose stay.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import polars as pl

from ..config import ResponsesConfig
from ..identity import prompt_context, with_extra
from ..libraries import library
from ..tables import RESPONSE_DROP

_EMAIL: Final = re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}\b")
_CARD: Final = re.compile(r"\b\d(?:[ -]?\d){12,18}\b")
_IBAN: Final = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b")
_PROSE: Final = ("Base64HighEntropyString", "HexHighEntropyString", "IPPublicDetector")
# A text in, the kind of what was found out; None where it is clean. Never the text found.
Detector = Callable[[str], str | None]


def screened(responses: pl.LazyFrame, config: ResponsesConfig) -> pl.LazyFrame:
    """Rows with `drop_reason` and `drop_detail`; both null where the row stays.

    Args:
        responses: One row a response, with `prompt`, `tools`, `completion` and `completion_extra`.
        config: Bounds, languages, and what to look for.

    Raises:
        MissingDependencyError: A library that a chosen screen needs is not installed.
    """
    prompt = pl.col("prompt").list.eval(pl.element().struct.field("content")).list.join("\n")
    answer = with_extra(pl.col("completion"), pl.col("completion_extra"))
    along = pl.col("completion_extra").str.len_chars().fill_null(0)
    lengths = prompt.str.len_chars(), pl.col("completion").str.len_chars() + along
    found: list[tuple[str, pl.Expr]] = [
        ("prompt_length", _outside(lengths[0], config.min_prompt_chars, config.max_prompt_chars)),
        ("completion_length", _outside(lengths[1], config.min_completion_chars, config.max_completion_chars)),
    ]
    both = pl.concat_str(prompt, prompt_context(pl.col("prompt"), pl.col("tools")), answer, separator="\n")
    if config.languages:
        language = _language_detector(config.languages, config.language_confidence)
        # An answer that only calls a tool is in no language.
        spoken = pl.when(pl.col("completion") != "").then(pl.col("completion"))
        found.append(("language", _detected(spoken, language)))
    if config.screen_secrets:
        found.append(("secret", _detected(both, _secret_detector())))
    if config.screen_personal_data:
        found.append(("personal_data", _detected(both, _personal_data_detector())))
    marked = responses.with_columns(detail.alias(f"_{reason}") for reason, detail in found)
    reason = pl.coalesce(
        pl.when(pl.col(f"_{name}").is_not_null()).then(pl.lit(name, dtype=RESPONSE_DROP)) for name, _ in found
    )
    detail = pl.coalesce(pl.col(f"_{name}") for name, _ in found)
    return marked.with_columns(drop_reason=reason, drop_detail=detail).drop(f"_{name}" for name, _ in found)


def _outside(length: pl.Expr, least: int, most: int | None) -> pl.Expr:
    """The length in words where it is out of bounds, else null."""
    outside = length < least
    if most is not None:
        outside = outside | (length > most)
    return pl.when(outside).then(pl.format("{} characters", length))


def _detected(text: pl.Expr, detector: Detector) -> pl.Expr:
    return text.map_batches(
        lambda column: pl.Series(
            [None if value is None else detector(value) for value in column.to_list()], dtype=pl.String
        ),
        return_dtype=pl.String,
        is_elementwise=True,
    )


def _language_detector(kept: tuple[str, ...], confidence: float) -> Detector:
    langid = _needed("py3langid.langid", "languages")
    identifier = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)

    def detect(text: str) -> str | None:
        language, probability = identifier.classify(text)
        return None if language in kept or probability < confidence else str(language)

    return detect


def _secret_detector() -> Detector:
    plugins = _needed("detect_secrets.core.plugins.util", "screen_secrets").get_mapping_from_secret_type_to_class()
    # analyze_string alone: the library's scan would ask services whether a token is live.
    detectors = [(kind, plugin()) for kind, plugin in sorted(plugins.items()) if plugin.__name__ not in _PROSE]

    def detect(text: str) -> str | None:
        return next((kind for kind, plugin in detectors if any(plugin.analyze_string(text))), None)

    return detect


def _personal_data_detector() -> Detector:
    phonenumbers = _needed("phonenumbers", "screen_personal_data")
    luhn = _needed("stdnum.luhn", "screen_personal_data")
    iban = _needed("stdnum.iban", "screen_personal_data")

    def kinds(text: str) -> Iterator[str]:
        if _EMAIL.search(text):
            yield "e-mail address"
        if any(luhn.is_valid(re.sub(r"\D", "", match)) for match in _CARD.findall(text)):
            yield "card number"
        if any(iban.is_valid(match) for match in _IBAN.findall(text)):
            yield "bank account number"
        # Without a region only numbers with their country's code are told from other digits.
        if "+" in text and phonenumbers.PhoneNumberMatcher(text, None).has_next():
            yield "phone number"

    return lambda text: next(kinds(text), None)


def _needed(module: str, knob: str) -> Any:
    return library(module, f"responses.{knob}")

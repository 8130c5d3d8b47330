"""The verdict: what held-out preferences say, what sampled answers say, which of them decides, and at what price."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from .evaluation_facts import EvaluationFacts
from .flags import Flag, answer_warnings, split_warnings, warnings
from .formatting import model_name, sentence
from .inputs import ReportInputs
from .judges import judge_names, opinion, predicted, sides
from .next_steps import Next, next_steps
from .preferences import headline_of, preferences
from .price import Price, price
from .tones import WORDS, Statement, Tone

# What decides: logged preferences, the first judge of sampled answers, or answers that break.
Source: TypeAlias = Literal["preferences", "answers", "text"]

_SAYS: Final[dict[Tone, str]] = {
    "better": "better",
    "length": "better, as length alone might",
    "same": "no difference",
    "worse": "worse",
}


@dataclass(frozen=True)
class Verdict:
    """What the first screen says.

    Attributes:
        tone: Better, better at a price, the same, worse, or unknown.
        word: The tone in words.
        sentence: The verdict in a sentence or two, with its interval.
        basis: What it rests on: the test, its size.
        flags: What to beware of.
        measure: Name of the headline number that it is about; None where it is about sampled answers, or nothing.
        decided_by: What decides; None where nothing does.
        statements: What each source of evidence says, where answers were sampled; none otherwise.
        next_steps: What to do next, as commands; none where this is no run.
    """

    tone: Tone
    word: str
    sentence: str
    basis: str
    flags: tuple[Flag, ...]
    measure: str | None
    decided_by: Source | None = None
    statements: tuple[Statement, ...] = ()
    next_steps: tuple[Next, ...] = ()


def verdict(inputs: ReportInputs, facts: EvaluationFacts) -> Verdict:
    """The verdict of sampled answers by the first judge; where none were judged, that of held-out preferences.

    Answers that break, repeating themselves or staying empty, are worse whatever they are liked for.
    """
    logged = preferences(inputs, facts)
    answers = _first_opinion(inputs, facts)
    paid = price(inputs, facts, *sides(facts))
    asked = answers is not None and answers.tone != "unknown"
    chosen = answers if asked and answers is not None else logged
    tone = _tone(chosen, paid)
    by: Source = "text" if paid is not None and paid.broken else "answers" if asked else "preferences"
    return Verdict(
        tone=tone,
        word=WORDS[tone],
        sentence=_sentence(facts, chosen, logged, paid),
        basis=chosen.basis,
        flags=_flags(inputs, facts),
        measure=chosen.measure,
        decided_by=None if tone == "unknown" else by,
        statements=_statements(inputs, facts, logged, answers, paid, by),
        next_steps=next_steps(inputs, facts, tone, logged, answers),
    )


def _first_opinion(inputs: ReportInputs, facts: EvaluationFacts) -> Statement | None:
    """What the first judge says that compared answers of both models."""
    for name in judge_names(inputs, facts)[:1]:
        return opinion(inputs, facts, name)
    return None


def _tone(chosen: Statement, paid: Price | None) -> Tone:
    if paid is not None and paid.broken:
        return "worse"
    if chosen.tone == "better" and paid is not None and paid.exceeds:
        return "priced"
    return chosen.tone


def _sentence(facts: EvaluationFacts, chosen: Statement, logged: Statement, paid: Price | None) -> str:
    """The verdict in words: where the two sources disagree, that comes first; the price comes last."""
    name = model_name(sides(facts).model)
    if paid is not None and paid.broken:
        return f"The answers of {name} break: {_listed(paid)}. {_all_the_same(chosen, logged)}".strip()
    parts = [chosen.sentence]
    if chosen.source == "answers" and logged.tone != "unknown":
        if logged.tone == chosen.tone:
            parts.append("Held-out preferences agree.")
        else:
            told = (_SAYS[logged.tone], _SAYS[chosen.tone])
            parts.insert(0, "Held-out preferences say {}, sampled answers say {}: answers decide.".format(*told))
    if chosen.tone in {"better", "length"} and paid is not None:
        parts.append(f"{'It is paid for' if paid.exceeds else 'The price'}: {paid.sentence()}")
    return " ".join(parts)


def _all_the_same(chosen: Statement, logged: Statement) -> str:
    """What the sources say that broken answers overrule."""
    sources = dict.fromkeys((chosen, logged))
    said = [f"{one.title.lower()} say {_SAYS[one.tone]}" for one in sources if one.tone != "unknown"]
    return f"That decides, whatever else is said: {', '.join(said)}." if said else ""


def _listed(paid: Price) -> str:
    return "; ".join(cost.text for cost in paid.broken)


def _flags(inputs: ReportInputs, facts: EvaluationFacts) -> tuple[Flag, ...]:
    subject = headline_of(facts)
    held_out = () if subject is None else warnings(inputs, facts, subject)
    return (*answer_warnings(inputs, facts), *held_out, *split_warnings(inputs))


def _statements(
    inputs: ReportInputs,
    facts: EvaluationFacts,
    logged: Statement,
    answers: Statement | None,
    paid: Price | None,
    by: Source,
) -> tuple[Statement, ...]:
    """Every source in the order in which a reader wants them, where answers were sampled."""
    rate = predicted(inputs, facts)
    if answers is None and paid is None and rate is None:
        return ()
    found = [logged._replace(decides=by == "preferences")]
    found += [] if answers is None else [answers._replace(decides=by == "answers")]
    found += [] if rate is None else [rate]
    if paid is not None:
        tone: Tone = "worse" if paid.broken else "priced" if paid.exceeds else "same"
        found.append(Statement("price", "What it costs", tone, sentence(paid.sentence()), decides=by == "text"))
    return tuple(found)

"""What to do next, as commands to type: what each weakness that the page names can be met with."""

import math
import re
import shlex
from pathlib import Path
from typing import Final, NamedTuple

from ..config import RunConfig
from .evaluation_facts import ACCURACY, COMPARISON, EvaluationFacts
from .flags import both_fell
from .formatting import count, percent, plural
from .inputs import Missing, ReportInputs
from .lineage import named_file, shown_command
from .tones import Statement, Tone

# Share of the votes that raters of one label must have given before a rule for them is worth a run.
_LEAST_ONE_LABEL: Final = 0.01
_STARTS: Final = re.compile(r"thumbline (run|prepare|train) ")
# What was asked for once, and not of a run that is made again.
_ONCE: Final = re.compile(r" (--dry-run|--(from|until)[ =]\S+)")


class Next(NamedTuple):
    """One thing to do.

    Attributes:
        why: What was seen, and what the command does about it.
        command: A line to type.
    """

    why: str
    command: str


def next_steps(
    inputs: ReportInputs, facts: EvaluationFacts, tone: Tone, logged: Statement, answers: Statement | None
) -> tuple[Next, ...]:
    """What to do about the weaknesses of a run, the most basic first; none where no run file belongs to the report.

    Args:
        inputs: The report's inputs.
        facts: The metrics.
        tone: The verdict.
        logged: What held-out preferences say.
        answers: What the first judge says of sampled answers; None where no judge compared any.
    """
    config = inputs.config
    if config is None:
        return ()
    return _known(
        rater_rule(inputs),
        _lower_rate(inputs, facts, config),
        _less_length(inputs, config, logged),
        _more_votes(inputs, facts, logged),
        _ask(inputs, facts, config, answers),
        _launch(config, tone),
    )


def rater_rule(inputs: ReportInputs) -> Next | None:
    """Votes of raters that always vote the same, where all votes weigh the same."""
    raters, config = inputs.table("raters"), inputs.config
    if raters is None or config is None or "one_label" not in raters.columns or config.responses.reliability != "none":
        return None
    one_sided = raters.filter("one_label")
    votes, every = int(one_sided["n_votes"].sum()), int(raters["n_votes"].sum())
    if votes < _LEAST_ONE_LABEL * every or not votes:
        return None
    return Next(
        f"{plural(one_sided.height, 'rater')} always gave the same thumb, in {plural(votes, 'vote')}, "
        f"{percent(votes / every)} of all. Let votes weigh what their raters are worth:",
        with_settings(inputs, "responses.reliability=dawid_skene"),
    )


def train_rows(inputs: ReportInputs, table: str) -> Next | None:
    """Training on prepared rows: DPO of pairs, KTO of labelled answers."""
    if inputs.config is None:
        return None
    rows = _shown(inputs.config.run_dir / table / f"{table}.parquet")
    method, what = ("dpo", "pairs") if table == "pairs" else ("kto", "labelled answers")
    return Next(
        f"Train on the {what}, with a model of yours in place of MODEL:",
        f"thumbline train {rows} -m MODEL --method {method} -o trained",
    )


def with_settings(inputs: ReportInputs, *settings: str) -> str:
    """The command that made the run, or one that makes it again, with further settings."""
    command = shown_command(inputs)
    again = _ONCE.sub("", command) if _STARTS.match(command) else f"thumbline run {named_file(inputs)}"
    return " ".join([again, *(f"--set {shlex.quote(setting)}" for setting in settings)])


def _known(*found: Next | None) -> tuple[Next, ...]:
    return tuple(one for one in found if one is not None)


def _lower_rate(inputs: ReportInputs, facts: EvaluationFacts, config: RunConfig) -> Next | None:
    if both_fell(inputs, facts) is None:
        return None
    rates = ",".join(f"{config.train.learning_rate / divisor:.2g}" for divisor in (3, 10))
    return Next(
        "The better answers became less likely too. Try lower learning rates, on the same stored reference:",
        f"thumbline sweep {_run_file(inputs)} --over train.learning_rate={rates}",
    )


def _run_file(inputs: ReportInputs) -> str:
    """The run file that the command names, or the one that the report names."""
    command = shown_command(inputs)
    words = shlex.split(command) if command.startswith("thumbline run ") else []
    return next((shlex.quote(word) for word in words if word.endswith((".yaml", ".yml"))), named_file(inputs))


def _less_length(inputs: ReportInputs, config: RunConfig, logged: Statement) -> Next | None:
    if logged.tone != "length" or config.train.method != "dpo" or config.train.ld_alpha < 1:
        return None
    return Next(
        "Length may explain what was learned. Let tokens beyond the shorter answer's length count half (LD-DPO):",
        with_settings(inputs, "train.ld_alpha=0.5", "reference.token_logps=true"),
    )


def _more_votes(inputs: ReportInputs, facts: EvaluationFacts, logged: Statement) -> Next | None:
    """How many pairs would show the difference that was seen, and a larger test split."""
    least = facts.find(COMPARISON, "minimum_detectable_effect", facts.subject, facts.baseline)
    gap = facts.find(COMPARISON, "accuracy_difference", facts.subject, facts.baseline)
    subject = facts.headline(ACCURACY, facts.subject) if logged.measure == ACCURACY.name else None
    if logged.tone != "same" or subject is None or least is None or gap is None or inputs.config is None:
        return None
    if not least.value or not gap.value or abs(gap.value) >= least.value:
        return None
    needed = math.ceil(subject.n * (least.value / gap.value) ** 2)
    share = min(0.5, 2 * inputs.config.splits.test)
    return Next(
        f"The test split of {plural(subject.n, 'pair')} finds differences of {100 * least.value:.1f} percentage points "
        f"and more; to find the {100 * abs(gap.value):.1f} seen it would need about {count(needed)}. Collect more "
        "votes, or hold out more of those that there are:",
        with_settings(inputs, f"splits.test={share:g}"),
    )


def _ask(inputs: ReportInputs, facts: EvaluationFacts, config: RunConfig, answers: Statement | None) -> Next | None:
    """Let the model write, and a judge say what it is worth."""
    if answers is not None or isinstance(facts.measures, Missing):
        return None
    settings = [] if config.generations.is_on else ["generations.samples=4"]
    settings += [] if config.thumbs.is_on else ["thumbs.method=reward_bce"]
    seen = "The model was not asked"
    if config.generations.is_on:
        seen = "Answers were sampled, but no judge compared them"
        # Other judges may have said something; the first decides.
        if config.judges:
            seen = f"Answers were sampled, but {config.judges[0].called}, the judge that decides, gave no number"
    return Next(
        f"{seen}. Let it answer held-out prompts, and a model of your votes judge "
        "(`thumbline judges` lists who else can):",
        with_settings(inputs, *settings, "judges=[{judge: thumbs}]"),
    )


def _launch(config: RunConfig, tone: Tone) -> Next | None:
    if tone not in {"better", "priced"}:
        return None
    return Next(
        "The model is better on what was held out. Plan the A/B test that says what its users do:",
        f"thumbline launch-plan {_shown_run(config)}",
    )


def _shown_run(config: RunConfig) -> str:
    return _shown(config.run_dir) if config.address is None else shlex.quote(config.place())


def _shown(path: Path) -> str:
    """A path as one types it where the command was started."""
    here = Path.cwd()
    shown = str(path.relative_to(here) if path.is_absolute() and path.is_relative_to(here) else path)
    return shlex.quote(f"./{shown}" if shown.startswith("-") else shown)

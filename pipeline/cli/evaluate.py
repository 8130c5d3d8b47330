"""The commands that evaluate: `thumbline evaluate` and `thumbline compare`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..config import build_config
from ..errors import ConfigError
from .documents import JsonOption
from .evaluated import evaluation_document, print_conditions, print_ratings, print_summary, rating_numbers
from .options import OutputOption, ScoringArguments, grouped
from .terminal import ConsoleReporter, command_line, only_document, print_json

if TYPE_CHECKING:
    # Imported where they are used: `thumbline --help` should not wait for them.
    from .. import evaluation as evaluation_module
    from ..evaluation import outcome as outcome_module


@dataclass(frozen=True)
class Evaluated:
    """What is evaluated, and by which models where it is not scored yet."""

    rows: Annotated[
        str | None,
        typer.Argument(
            help="A run, scored rows, judged pairs, or with --model a file or `hub:ID` of pairs.", metavar="ROWS"
        ),
    ] = None
    unpaired: Annotated[Path | None, typer.Option(help="Parquet of scored unpaired rows.")] = None
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Scores the pairs: hub id, folder, LoRA adapter, or `demo`. Repeatable."),
    ] = None
    reference: Annotated[str | None, typer.Option(help="Model that rewards are measured against.")] = None


@dataclass(frozen=True)
class Reading:
    """How pairs that are not scored yet are read."""

    layout: Annotated[str, typer.Option(help="auto, rewardbench, ratings, or a name of `thumbline formats`.")] = "auto"
    split: Annotated[str, typer.Option(help="Split of a `hub:` data set.")] = "train"
    rating: Annotated[str | None, typer.Option(help="Column that rates an answer, of which pairs are made.")] = None
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="As in events.options, such as `prompt=question`. Repeatable."),
    ] = None

    def options(self) -> dict[str, str]:
        """The options by name.

        Raises:
            ConfigError: One is not NAME=VALUE.
        """
        stated = [entry.partition("=") for entry in self.option or ()]
        wrong = [name for name, sign, _ in stated if not sign or not name]
        if wrong:
            raise ConfigError(f"--option {wrong[0]}: say NAME=VALUE, such as prompt=question.")
        return {name: value for name, _, value in stated}


@dataclass(frozen=True)
class Judging:
    """What a reward is, how sure an interval is, and who is compared with whom on which slices."""

    beta: Annotated[float | None, typer.Option(help="Scale of a reward; default: the run's own, else 0.1.")] = None
    reward: Annotated[
        str | None, typer.Option(help="implicit, mean_implicit, sum_logps or mean_logps; default: what the rows allow.")
    ] = None
    draws: Annotated[
        int | None, typer.Option(help="Resamples of prompt groups an interval; default: the run's own, else 1000.")
    ] = None
    confidence: Annotated[
        float | None, typer.Option(help="Mass of every interval; default: the run's own, else 0.95.")
    ] = None
    seed: Annotated[int | None, typer.Option(help="Draws the resamples; default: the run's own, else 0.")] = None
    baseline: Annotated[str | None, typer.Option(help="Name of the model that others are compared with.")] = None
    slice_by: Annotated[list[str] | None, typer.Option("--slice", help="Column to evaluate apart. Repeatable.")] = None

    def choices(self) -> "outcome_module.Choices":
        """The choices, checked: a value out of range is refused before rows are read."""
        from ..evaluation import outcome

        made = outcome.Choices(self.beta, self.reward, self.draws, self.confidence, self.seed, self.baseline)
        outcome.check_choices(made)
        return made


@dataclass(frozen=True)
class PairScoring(ScoringArguments):
    """How pairs are scored."""

    truncation: Annotated[str, typer.Option(help="Too long a row: drop, keep_end or keep_start.")] = "drop"
    store: Annotated[Path | None, typer.Option(help="Folder of stored log-probs; default: in OUTPUT.")] = None

    def options(self, output: Path) -> "evaluation_module.ScoringOptions":
        """The same, checked as a run file's sections are."""
        from ..evaluation import ScoringOptions

        document: dict[str, Any] = {"name": "evaluate", "model": "none", "events": {"inputs": ["none"]}}
        document |= self.sections()
        document["sequences"]["truncation"] = self.truncation
        config = build_config(document, origin="command line")
        return ScoringOptions(config.reference, config.sequences, self.store or output / "store")


@dataclass(frozen=True)
class Answering:
    """Whether the models are asked for answers of their own to the prompts of the pairs, and who judges those."""

    samples: Annotated[
        int | None, typer.Option(min=1, help="Answers each --model writes to each prompt, to be judged.")
    ] = None
    judge: Annotated[
        list[str] | None,
        typer.Option(help="Of `thumbline judges`, or FILE.py:FUNCTION. Repeatable; the first decides the verdict."),
    ] = None
    judge_option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Of a judge, as `thumbline judges JUDGE` lists them. Repeatable."),
    ] = None
    prompts: Annotated[int | None, typer.Option(min=1, help="Most prompts that are asked; default: 200.")] = None
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens of an answer; default: 256.")] = None
    temperature: Annotated[float | None, typer.Option(help="Of the answers; default: 1.0.")] = None

    def options(self, engine: str) -> "evaluation_module.AnswerOptions | None":
        """How models are asked, checked as a run file's sections are; None where they are not.

        Raises:
            ConfigError: Options are there without what they are about, or one does not hold.
        """
        stated = {name: value for name, value in vars(self).items() if value not in (None, [])}
        if self.samples is None:
            if stated:
                option = next(iter(stated)).replace("_", "-")
                raise ConfigError(f"evaluate: --{option} is about sampled answers; say how many, as --samples 4.")
            return None
        if self.judge_option and not self.judge:
            raise ConfigError("evaluate: --judge-option is of a judge; name it with --judge.")
        from ..evaluation import AnswerOptions, judge_sections

        judges = judge_sections(stated.pop("judge", ()), stated.pop("judge_option", ()))
        without = [entry for entry in judges if entry["judge"] == "thumbs" and not entry["options"].get("model")]
        if without:
            raise ConfigError("evaluate: --judge thumbs needs a thumbs model: --judge-option model=FOLDER.")
        document = {"name": "evaluate", "model": "none", "events": {"inputs": ["none"]}}
        sections = {"generations": {**stated, "engine": engine}, "judges": judges}
        config = build_config(document | sections, origin="command line")
        return AnswerOptions(config.generations, config.judges)


@dataclass(frozen=True)
class Conditions:
    """What the evaluation has to meet."""

    fail_under: Annotated[
        list[str] | None,
        typer.Option(metavar="METRIC=VALUE", help="Exit with 1 below it; METRIC:low is the interval's lower end."),
    ] = None
    no_worse_than: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Exit with 1 where accuracy is worse than RUN's on the same pairs."),
    ] = None
    allowed_loss: Annotated[
        float | None,
        typer.Option(min=0.0, help="For --no-worse-than: the whole interval must lie above minus this share."),
    ] = None
    junit: Annotated[Path | None, typer.Option(help="JUnit XML file of the conditions.")] = None
    summary: Annotated[
        Path | None, typer.Option(help="Markdown file of verdict, conditions and numbers, for a CI job's page.")
    ] = None


@dataclass(frozen=True)
class Trackers:
    """Where the numbers are logged to."""

    tensorboard: Annotated[Path | None, typer.Option(help="Folder for TensorBoard's event files.")] = None
    wandb: Annotated[str | None, typer.Option(metavar="PROJECT", help="Weights & Biases project to log to.")] = None
    trackio: Annotated[str | None, typer.Option(metavar="PROJECT", help="Trackio project to log to.")] = None
    mlflow: Annotated[str | None, typer.Option(metavar="EXPERIMENT", help="MLflow experiment to log to.")] = None

    def places(self) -> dict[str, str]:
        """By name of a tracker that is asked for, where it logs to."""
        return {name: str(place) for name, place in vars(self).items() if place is not None}


@grouped
def evaluate_command(
    *,
    evaluated: Evaluated,
    output: OutputOption = Path("evaluation"),
    reading: Reading,
    judging: Judging,
    scoring: PairScoring,
    answering: Answering,
    conditions: Conditions,
    trackers: Trackers,
    as_json: JsonOption = False,
) -> None:
    """Metrics with intervals, and a report, of a run, of scored rows, or of pairs that models score now.

    A table of judged pairs (AlpacaEval's annotations, arena votes, LLMFAO, PandaLM, or `model_a`, `model_b` and
    `preference`) gives win rates and ratings of its models.

    With --samples the models that score the pairs also answer their prompts, and each --judge judges the answers.

    Exit code 1: a condition does not hold. Exit code 2: it cannot be evaluated as asked.
    """
    from .. import evaluation
    from ..evaluation import gate, markdown, outcome
    from ..storage.files import check_place, write_text

    request = evaluation.Request(
        rows=evaluated.rows,
        unpaired=evaluated.unpaired,
        models=tuple(evaluated.model or ()),
        reference=evaluated.reference,
        reading=evaluation.ReadOptions(
            reading.layout, reading.split, reading.rating, tuple(judging.slice_by or ()), reading.options()
        ),
        scoring=scoring.options(output),
        answers=answering.options(scoring.engine),
        gate=evaluation.Gate(
            tuple(conditions.fail_under or ()), conditions.no_worse_than, conditions.allowed_loss, conditions.junit
        ),
        trackers=trackers.places(),
    )
    choices = judging.choices()
    with only_document(as_json):
        if conditions.summary is not None:
            check_place(conditions.summary)
        if evaluation.is_judged_request(request):
            _evaluate_judged(request, choices, output, conditions.summary, as_json=as_json)
            return
        evaluation.check_request(request)
        done = outcome.evaluate_subject(evaluation.read_request(request, ConsoleReporter(), choices), choices)
        summary = outcome.write_outcome(done, output, command_line())
        print_summary(summary, output)
        evaluation.track(request, done)
        checked = evaluation.check_gate(request, done)
        if conditions.summary is not None:
            write_text(conditions.summary, markdown.summary_markdown(summary, checked))
        print_conditions(checked)
        if as_json:
            print_json(evaluation_document(summary.tone, summary.sentence, summary.numbers, output, checked))
        gate.refuse(checked)


def _evaluate_judged(
    request: "evaluation_module.Request",
    choices: "outcome_module.Choices",
    output: Path,
    short: Path | None,
    *,
    as_json: bool,
) -> None:
    """Win rates and ratings of a table of judged pairs."""
    from ..evaluation import gate, judged, judged_rows, markdown
    from ..storage.files import write_text

    judged.check_judged_request(request)
    done = judged.evaluate_pairs(judged_rows.read_judged(str(request.rows)), choices)
    facts = judged.write_judged(done, output, command_line())
    print_ratings(facts, output)
    checked = judged.check_judged_gate(request, done)
    if short is not None:
        write_text(short, markdown.ratings_markdown(facts, checked))
    print_conditions(checked)
    if as_json:
        print_json(evaluation_document(facts.tone, facts.sentence, rating_numbers(facts), output, checked))
    gate.refuse(checked)


@grouped
def compare_command(
    runs: Annotated[list[str], typer.Argument(help="Runs, folders of `thumbline evaluate`, or scored rows.")],
    *,
    output: OutputOption = Path("comparison"),
    judging: Judging,
    shared: Annotated[
        bool, typer.Option("--shared-rows", help="Leave out rows that only some have, and count.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Models of several runs on the same held-out rows: a table, pictures and learning curves on one page.

    The first one's model is what the others are compared with. Runs whose rows differ are refused.
    """
    from ..evaluation import compare, outcome

    with only_document(as_json):
        done = compare.compare(runs, judging.choices(), tuple(judging.slice_by or ()), shared=shared)
        logs = compare.training_logs(runs)
        title = "thumbline comparison"
        summary = outcome.write_outcome(done, output, command_line(), title=title, training_logs=logs)
        print_summary(summary, output)
        if as_json:
            print_json(evaluation_document(summary.tone, summary.sentence, summary.numbers, output))

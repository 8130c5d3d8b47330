"""The commands that evaluate: `thumbline evaluate` and `thumbline compare`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..config import build_config
from .terminal import (
    ConsoleReporter,
    DtypeOption,
    EngineOption,
    MaxTokensOption,
    OutputOption,
    TemplateOption,
    command_line,
    out,
    print_rows,
)

if TYPE_CHECKING:
    # Imported where they are used: `thumbline --help` should not wait for them.
    from .. import evaluation as evaluation_module
    from ..evaluation import outcome as outcome_module

BetaOption = Annotated[float | None, typer.Option(help="Scale of a reward; default: the run's own, else 0.1.")]
RewardOption = Annotated[
    str | None, typer.Option(help="implicit, mean_implicit, sum_logps or mean_logps; default: what the rows allow.")
]
DrawsOption = Annotated[
    int | None, typer.Option(help="Resamples of prompt groups an interval; default: the run's own, else 1000.")
]
ConfidenceOption = Annotated[
    float | None, typer.Option(help="Mass of every interval; default: the run's own, else 0.95.")
]
SeedOption = Annotated[int | None, typer.Option(help="Draws the resamples; default: the run's own, else 0.")]
BaselineOption = Annotated[str | None, typer.Option(help="Name of the model that others are compared with.")]
SliceOption = Annotated[list[str] | None, typer.Option("--slice", help="Column to evaluate apart. Repeatable.")]


def evaluate_command(
    rows: Annotated[
        str | None,
        typer.Argument(help="A run, scored rows, or with --model a file or `hub:ID` of pairs.", metavar="ROWS"),
    ] = None,
    unpaired: Annotated[Path | None, typer.Option(help="Parquet of scored unpaired rows.")] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Scores the pairs: hub id, folder, LoRA adapter, or `demo`. Repeatable."),
    ] = None,
    reference: Annotated[str | None, typer.Option(help="Model that rewards are measured against.")] = None,
    output: OutputOption = Path("evaluation"),
    layout: Annotated[str, typer.Option(help="auto, rewardbench, ratings, or a name of `thumbline formats`.")] = "auto",
    split: Annotated[str, typer.Option(help="Split of a `hub:` data set.")] = "train",
    rating: Annotated[str | None, typer.Option(help="Column that rates an answer, of which pairs are made.")] = None,
    beta: BetaOption = None,
    reward: RewardOption = None,
    draws: DrawsOption = None,
    confidence: ConfidenceOption = None,
    seed: SeedOption = None,
    baseline: BaselineOption = None,
    slice_by: SliceOption = None,
    engine: EngineOption = "auto",
    dtype: DtypeOption = "bfloat16",
    template: TemplateOption = "chat",
    max_tokens: MaxTokensOption = 1024,
    truncation: Annotated[str, typer.Option(help="Too long a row: drop, keep_end or keep_start.")] = "drop",
    store: Annotated[Path | None, typer.Option(help="Folder of stored log-probs; default: in OUTPUT.")] = None,
    fail_under: Annotated[
        list[str] | None,
        typer.Option(metavar="METRIC=VALUE", help="Exit with 1 below it; METRIC:low is the interval's lower end."),
    ] = None,
    no_worse_than: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Exit with 1 where accuracy is worse than RUN's on the same pairs."),
    ] = None,
    allowed_loss: Annotated[
        float | None,
        typer.Option(min=0.0, help="For --no-worse-than: the whole interval must lie above minus this share."),
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="JUnit XML file of the conditions.")] = None,
    tensorboard: Annotated[Path | None, typer.Option(help="Folder for TensorBoard's event files.")] = None,
    wandb: Annotated[str | None, typer.Option(metavar="PROJECT", help="Weights & Biases project to log to.")] = None,
) -> None:
    """Metrics with intervals, and a report, of a run, of scored rows, or of pairs that models score now.

    Exit code 1: a condition does not hold. Exit code 2: it cannot be evaluated as asked.
    """
    from .. import evaluation
    from ..evaluation import gate, outcome

    wanted = evaluation.Request(
        rows=rows,
        unpaired=unpaired,
        models=tuple(model or ()),
        reference=reference,
        reading=evaluation.ReadOptions(layout, split, rating, tuple(slice_by or ())),
        scoring=_scoring(engine, dtype, template, max_tokens, truncation, store or output / "store"),
        gate=evaluation.Gate(tuple(fail_under or ()), no_worse_than, allowed_loss, junit),
        tensorboard=tensorboard,
        wandb=wandb,
    )
    choices = outcome.Choices(beta, reward, draws, confidence, seed, baseline)
    outcome.check_choices(choices)
    evaluation.check_request(wanted)
    found = outcome.evaluate_subject(evaluation.read_request(wanted, ConsoleReporter()), choices)
    _print_told(outcome.write_outcome(found, output, command_line()), output)
    evaluation.track(wanted, found)
    conditions = evaluation.check_gate(wanted, found)
    print_rows([{"condition": c.name, "holds": "yes" if c.holds else "NO", "numbers": c.detail} for c in conditions])
    gate.refuse(conditions)


def _scoring(
    engine: str, dtype: str, template: str, max_tokens: int, truncation: str, store: Path
) -> "evaluation_module.ScoringOptions":
    from ..evaluation import ScoringOptions

    document = {"name": "evaluate", "model": "none", "events": {"inputs": ["none"]}}
    document["reference"] = {"engine": engine, "dtype": dtype}
    document["sequences"] = {"template": template, "max_tokens": max_tokens, "truncation": truncation}
    config = build_config(document, origin="command line")
    return ScoringOptions(config.reference, config.sequences, store)


def compare_command(
    runs: Annotated[list[str], typer.Argument(help="Runs, folders of `thumbline evaluate`, or scored rows.")],
    output: OutputOption = Path("comparison"),
    beta: BetaOption = None,
    reward: RewardOption = None,
    draws: DrawsOption = None,
    confidence: ConfidenceOption = None,
    seed: SeedOption = None,
    baseline: BaselineOption = None,
    slice_by: SliceOption = None,
) -> None:
    """Models of several runs on the same held-out rows: a table, pictures and learning curves on one page.

    The first one's model is what the others are compared with. Runs whose rows differ are refused.
    """
    from ..evaluation import compare, outcome

    choices = outcome.Choices(beta, reward, draws, confidence, seed, baseline)
    outcome.check_choices(choices)
    found = compare.compare(runs, choices, tuple(slice_by or ()))
    logs = compare.training_logs(runs)
    title = "thumbline comparison"
    _print_told(outcome.write_outcome(found, output, command_line(), title=title, training_logs=logs), output)


def _print_told(told: "outcome_module.Told", output: Path) -> None:
    from ..report.formatting import interval, measure

    rows = [
        {
            "model": row.model + (f" against {row.compared_with}" if row.compared_with else ""),
            "metric": row.metric,
            "value": measure(row.value, row.unit),
            "interval": "" if row.ci_low is None else interval(row.ci_low, row.ci_high, row.unit),
            "rows": f"{row.n:,}",
            "note": row.reason or "",
        }
        for row in told.numbers
    ]
    print_rows(rows, whole=("metric", "value"))
    out.print(told.sentence, markup=False)
    out.print(f"Report: {output / 'report.html'}  every number: {output / 'metrics.json'}")

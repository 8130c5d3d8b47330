"""The command `next-round`: a trained model's own answers, judged, as rows that it is trained on again."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError
from .run import SetOption, print_stage
from .terminal import ConsoleReporter, command_line, notes, out

if TYPE_CHECKING:
    # Imported where it is used: `thumbline --help` should not wait for it.
    from ..rounds import Made, RoundPlan

_Votes = Annotated[
    Path | None,
    typer.Option(metavar="FILE.jsonl", help="Write the answers for people to vote on, and stop; no model judges."),
]
_VotesFrom = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Take people's votes from the file of --votes, or from a tool's export of it."),
]


def next_round_command(
    run: Annotated[Path, typer.Argument(help="Folder of a run that has trained a model.", metavar="RUN")],
    samples: Annotated[int, typer.Option(help="Answers a prompt.")] = 4,
    prompts: Annotated[int | None, typer.Option(help="Most prompts of the training split; unset: all of them.")] = None,
    margin: Annotated[
        float, typer.Option(help="Least difference of the best and the worst answer: of thumbs-up rates, 0 to 1.")
    ] = 0.1,
    temperature: Annotated[float | None, typer.Option(help="Of the answers; unset: generations.temperature.")] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(help="An answer is cut after so many tokens; unset: generations.max_new_tokens.")
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="Name of one of the run's judges that look at one answer; unset: thumbs model.")
    ] = None,
    votes: _Votes = None,
    votes_from: _VotesFrom = None,
    keep_log: Annotated[
        bool, typer.Option("--keep-log", help="Train on the log's own rows too, not on the new ones alone.")
    ] = False,
    keep_cut: Annotated[
        bool, typer.Option("--keep-cut", help="Take answers too that were cut at --max-new-tokens.")
    ] = False,
    until: Annotated[str | None, typer.Option(metavar="STAGE", help="Stop after this stage.")] = None,
    settings: SetOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; do nothing.")] = False,
) -> None:
    """Let a run's trained model answer its training prompts, judge the answers, and train on them again.

    The round is a run of its own, RUN-round-2 and so on, beside the one before; the same command goes on where it was.
    """
    from .. import rounds

    if votes is not None and votes_from is not None:
        raise ConfigError("next-round: --votes hands answers out, --votes-from takes votes back; give one of them.")
    wanted = rounds.Wanted(
        samples=samples,
        prompts=prompts,
        temperature=temperature,
        max_new_tokens=max_new_tokens,
        margin=margin,
        judge=judge,
        keep_log=keep_log,
        keep_cut=keep_cut,
        settings=tuple(settings or ()),
        by_votes=votes is not None or votes_from is not None,
    )
    plan = rounds.plan_round(run, wanted)
    if dry_run:
        _print_plan(plan)
        return
    notes.print(f"round {plan.number}, into {plan.config.run_dir}", markup=False, soft_wrap=True)
    steps = rounds.run_round(
        plan, votes=votes, votes_from=votes_from, until=until, reporter=ConsoleReporter(), command=command_line()
    )
    for step in steps:
        if isinstance(step, rounds.HandedOut):
            _print_handed_out(step.file, step.answers, step.prompts, run)
            return
        if isinstance(step, rounds.Made):
            _print_made(step)
        else:
            print_stage(step)
    if until is None:
        _print_rounds(plan)


def _print_plan(plan: "RoundPlan") -> None:
    from .. import rounds

    asked = plan.asked.generations
    who = "people" if plan.judge is None else plan.judge.called
    many = f"at most {plan.wanted.prompts:,}" if plan.wanted.prompts else "all"
    out.print(
        f"Round {plan.number} of {plan.previous.run_dir}, into {plan.config.run_dir}: {asked.samples} answers to "
        f"{many} prompts of the {rounds.SPLIT} split at temperature {asked.temperature:g}, judged by {who}; then "
        f"{plan.config.train.method} from the trained model.",
        markup=False,
        soft_wrap=True,
    )


def _print_made(made: "Made") -> None:
    left = ", ".join(f"{reason} {count:,}" for reason, count in made.left_out.items())
    when = "  up to date" if made.found else ""
    notes.print(
        f"{'rows':<10} {made.answers:,} answers to {made.prompts:,} prompts gave {made.rows:,} {made.what}"
        f"{f' (left out: {left})' if left else ''}{when}",
        markup=False,
        soft_wrap=True,
    )
    for sentence in made.said:
        notes.print(f"  {sentence}", markup=False, soft_wrap=True)


def _print_handed_out(file: Path, answers: int, prompts: int, run: Path) -> None:
    from ..rounds import VOTED

    out.print(f"{answers:,} answers to {prompts:,} prompts: {file}", markup=False, soft_wrap=True)
    out.print(
        f"Fill in `vote` ({', '.join(VOTED[:2])}) of each, by hand or in a tool that takes JSON lines, then: thumbline "
        f"next-round {run} --votes-from {file}",
        markup=False,
        soft_wrap=True,
    )


def _print_rounds(plan: "RoundPlan") -> None:
    from .. import rounds
    from .evaluated import print_summary

    runs = rounds.rounds_before(plan.config.run_dir)
    summary = rounds.write_rounds(runs, command_line())
    print_summary(summary, plan.config.run_dir / rounds.PAGE_FOLDER)

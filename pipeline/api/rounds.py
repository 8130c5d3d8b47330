"""The next round of training, on a model's own answers, from Python."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import ConfigError
from . import view
from .runs import Run, load
from .settings import sections_of

if TYPE_CHECKING:
    # Imported where they are used: `import thumbline` should not wait for what is not called.
    from ..line import Finished
    from ..rounds import HandedOut, Made

_ORIGIN: Final = "thumbline.next_round"


@dataclass(frozen=True)
class NextRound:
    """A round that is done, or whose answers wait for people's votes.

    Attributes:
        run: The round's run, a run like any other.
        rows: New pairs, rated answers or votes that it trains on; 0 where answers wait for votes.
        answers: Answers that the trained model wrote.
        prompts: To how many prompts.
        left_out: Answers and prompts that gave no row, by reason.
        verdict: Which round's model is best on the same held-out rows; None before there are any to compare.
        page: All rounds side by side; None likewise.
        votes: The file that people vote in; None where none was asked for.
        notes: What sampling and judging said.
    """

    run: Run
    rows: int
    answers: int
    prompts: int
    left_out: Mapping[str, int] = field(default_factory=dict)
    verdict: str | None = None
    page: Path | None = None
    votes: Path | None = None
    notes: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        """Verdict, what was made, and notes."""
        made = f"{self.answers:,} answers to {self.prompts:,} prompts gave {self.rows:,} rows"
        left = ", ".join(f"{reason} {count:,}" for reason, count in self.left_out.items())
        return view.page(
            view.paragraph(self.verdict or f"Run '{self.run.settings.name}'", strong=True),
            view.paragraph(f"{made} (left out: {left})." if left else f"{made}."),
            *map(view.paragraph, self.notes),
        )


def next_round(
    run: Run | str | Path,
    *,
    samples: int = 4,
    prompts: int | None = None,
    margin: float = 0.1,
    temperature: float | None = None,
    max_new_tokens: int | None = None,
    judge: str | None = None,
    votes: str | Path | None = None,
    votes_from: str | Path | None = None,
    keep_log: bool = False,
    keep_cut: bool = False,
    until: str | None = None,
    **settings: Any,
) -> NextRound:
    """Train a run's model on its own answers, judged, as `thumbline next-round` does.

        second = thumbline.next_round("runs/my_run", samples=4, margin=0.2)
        print(second.verdict, second.rows, second.run.model)

        thumbline.next_round("runs/my_run", votes="out.jsonl")         # people fill in `vote`
        thumbline.next_round("runs/my_run", votes_from="out.jsonl")

    Args:
        run: A run that has trained a model, or its folder.
        samples: Answers a prompt.
        prompts: Most prompts of the training split; None: all of them.
        margin: Least difference of the best and the worst answer: of thumbs-up rates, 0 to 1.
        temperature: Of the answers; None: the run's own.
        max_new_tokens: An answer is cut after so many tokens; None: the run's own.
        judge: Name of one of the run's judges that look at one answer; None: its thumbs model.
        votes: Write the answers to this file for people to vote on, and stop; no model judges.
        votes_from: Take people's votes from this file, or from a tool's export of it.
        keep_log: Train on the log's own rows too, not on the new ones alone.
        keep_cut: Take answers too that were cut.
        until: The last stage to run; None for all.
        settings: Of the new run: sections (`train={...}`) or dotted keys (`"train.method"`).

    Raises:
        ConfigError: No model was trained, nobody can judge, a setting does not hold, or both files are given.
        PipelineError: What sampling, a judge or a stage says, or that no row could be made.
    """
    from .. import rounds

    if votes is not None and votes_from is not None:
        raise ConfigError(f"{_ORIGIN}: votes hands answers out, votes_from takes votes back; give one of them.")
    wanted = rounds.Wanted(
        samples=samples,
        prompts=prompts,
        temperature=temperature,
        max_new_tokens=max_new_tokens,
        margin=margin,
        judge=judge,
        keep_log=keep_log,
        keep_cut=keep_cut,
        settings=tuple(_as_set(sections_of(settings, _ORIGIN))),
        by_votes=votes is not None or votes_from is not None,
    )
    plan = rounds.plan_round(run.folder if isinstance(run, Run) else Path(run), wanted)
    command = f"{_ORIGIN}(...)"
    first, *_ = rounds.run_round(
        plan,
        votes=None if votes is None else Path(votes),
        votes_from=None if votes_from is None else Path(votes_from),
        until=until,
        command=command,
    )
    if isinstance(first, rounds.HandedOut):
        # The round has no run yet: its rows are made of the votes.
        return NextRound(load(plan.previous.run_dir), 0, first.answers, first.prompts, votes=first.file)
    return _done(plan.config.run_dir, first, command, compared=until is None)


def _done(folder: Path, made: "Made | HandedOut | Finished", command: str, *, compared: bool) -> NextRound:
    from .. import rounds

    assert isinstance(made, rounds.Made), "a round begins with its rows"
    found = NextRound(load(folder), made.rows, made.answers, made.prompts, made.left_out, notes=tuple(made.said))
    if not compared:
        return found
    summary = rounds.write_rounds(rounds.rounds_before(folder), command)
    page = folder / rounds.PAGE_FOLDER / "report.html"
    return NextRound(**{**vars(found), "verdict": summary.sentence, "page": page})


def _as_set(sections: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Settings as `KEY=VALUE`."""
    for name, value in sections.items():
        if isinstance(value, Mapping) and value:
            yield from _as_set(value, f"{above}{name}.")
        else:
            yield f"{above}{name}={json.dumps(value)}"

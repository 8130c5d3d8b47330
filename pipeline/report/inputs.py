"""What a report is made from: everything it shows is in here, so that drawing it touches no disk, clock or network."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import polars as pl

from thumbline.evaluators import RewardKind

from ..config import RunConfig
from ..storage.manifests import Manifest


class Source(NamedTuple):
    """A file or data set that was evaluated.

    Attributes:
        name: As the user named it.
        rows: Rows or records in it.
        digest: What names its content.
    """

    name: str
    rows: int
    digest: str


@dataclass(frozen=True)
class ReportInputs:
    """Everything that a report shows; what is absent is named as absent on the page, with the reason.

    Attributes:
        title: Heading of the page.
        run_name: Name of the run, or of what was evaluated.
        command: The command line that made it.
        generated_at: When, as text (ISO 8601); the page shows it as it is.
        config: The run's settings; None where only scored rows were evaluated.
        manifests: What each finished stage did, by stage name.
        tables: Any of responses, raters, unpaired, pairs, pair_yield, splits, rejects, sequence_drops, parity,
            training_log, scored_pairs, scored_unpaired, thumbs_scores, generations, judgements, judged_pairs and
            metrics, each with the columns of its schema in
            `thumbline.pipeline.tables` that the report looks at (`run_facts.COLUMNS`).
        texts: `pair_id`, `prompt`, `chosen` and `rejected` of the pairs that are shown (`shown_pairs`); None: they are
            in the table `pairs`.
        answers: `generation_id` and `completion` of the sampled answers that are shown (`shown_answers`).
        prompts: `prompt_id` and `prompt` of the prompts that are shown with them.
        versions: Versions of this project, Python and libraries.
        beta: Scale of a reward, unitless; None where it is not known, which hides every reward.
        reward: What a reward is: beta times the log-ratio to the reference, or times the policy's own summed
            or mean log-probs.
        confidence: Mass of every interval in the metrics table, in (0, 1).
        worst_examples: How many of the pairs that the model gets most wrong are shown.
        notes: Sentences that the page must carry, for example that the log is simulated.
        sources: What was evaluated, where that was no run.
        models: What the names of models stand for, where they were scored for this report: digest, engine, dtype.
        subject: The model that the report is about; None where the metrics table says it.
        baseline: The model that it is compared with; likewise.
        judges: Who judged sampled answers where that was no run, the one that decides first.
        training_logs: Table `training_log` of several runs by the run's name, drawn side by side.
    """

    title: str
    run_name: str
    command: str
    generated_at: str
    config: RunConfig | None = None
    manifests: Mapping[str, Manifest] = field(default_factory=dict)
    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    texts: pl.DataFrame | None = None
    answers: pl.DataFrame | None = None
    prompts: pl.DataFrame | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    beta: float | None = None
    reward: RewardKind = "implicit"
    confidence: float = 0.95
    worst_examples: int = 8
    notes: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    subject: str | None = None
    baseline: str | None = None
    judges: tuple[str, ...] = ()
    training_logs: Mapping[str, pl.DataFrame] = field(default_factory=dict)

    def table(self, name: str) -> pl.DataFrame | None:
        """The rows of table `name`; None where it was not given or has no row."""
        frame = self.tables.get(name)
        return None if frame is None or frame.is_empty() else frame


@dataclass(frozen=True)
class Missing:
    """A part of the report that cannot be shown.

    Attributes:
        missing: Why, as a sentence, with what would change it where that is known.
    """

    missing: str

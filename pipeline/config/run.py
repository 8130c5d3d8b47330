"""A whole run's settings: a section a stage."""

import re
from pathlib import Path
from typing import Final, Self
from urllib.parse import unquote

from pydantic import Field, field_validator, model_validator

from ..hiding import without_secrets
from .asking import GenerationsConfig, JudgeConfig, ThumbsConfig
from .base import StageConfig
from .caches import working_folder
from .data import EventsConfig, PairsConfig, ResponsesConfig, SplitsConfig, UnpairedConfig
from .evaluation import MetricsConfig, ReportConfig
from .places import FilePath, ModelName
from .scaling import ScaleConfig
from .scoring import ReferenceConfig, SequencesConfig
from .training import TrainConfig

# What one folder can be called.
_NAME: Final = r"^[^/\x00]+$"
# At an address: stores, their tools and their patterns have signs of their own.
_NAME_AT_ADDRESS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class RunConfig(StageConfig):
    """A whole run, from logs to report."""

    name: str = Field(pattern=_NAME, description="Name of the run's folder.")
    runs: FilePath = Field(
        "runs",
        description="Folder of all runs, relative to the run file, or an address (s3://bucket/runs).",
    )
    model: ModelName = Field(
        min_length=1,
        description="A hub id, a folder relative to the run file, or `demo` for the embedded SmolLM2-135M-Instruct.",
    )
    revision: str | None = Field(None, description="A hub model's branch, tag or commit.")
    events: EventsConfig
    responses: ResponsesConfig = ResponsesConfig()
    unpaired: UnpairedConfig = UnpairedConfig()
    pairs: PairsConfig = PairsConfig()
    splits: SplitsConfig = SplitsConfig()
    sequences: SequencesConfig = SequencesConfig()
    thumbs: ThumbsConfig = ThumbsConfig()
    reference: ReferenceConfig = ReferenceConfig()
    train: TrainConfig = TrainConfig()
    generations: GenerationsConfig = GenerationsConfig()
    judges: tuple[JudgeConfig, ...] = Field((), description="Who judges the sampled answers; the first decides.")
    metrics: MetricsConfig = MetricsConfig()
    report: ReportConfig = ReportConfig()
    scale: ScaleConfig = ScaleConfig()

    @field_validator("runs")
    @classmethod
    def _as_path(cls, runs: str) -> str:
        """An address of this machine's own files is a path."""
        return unquote(runs.partition("://")[2]) if runs.startswith(("file://", "local://")) else runs

    @field_validator("name")
    @classmethod
    def _as_name(cls, name: str) -> str:
        """A path that leads elsewhere is no name."""
        if name in {".", ".."}:
            raise ValueError(f"'{name}' is no folder's own name; choose one")
        return name

    @model_validator(mode="after")
    def _name_at_an_address(self) -> Self:
        if "://" in self.runs and not _NAME_AT_ADDRESS.fullmatch(self.name):
            raise ValueError(
                f"name '{self.name}': a run at an address is named by letters, digits, '.', '_' and '-', a letter or "
                "a digit first; choose another name"
            )
        return self

    @model_validator(mode="after")
    def _name_a_base(self) -> Self:
        if self.train.save == "adapter" and self.reference.adapter is not None:
            raise ValueError(
                "train.save: adapter would name a base that is not on disk, the model with reference.adapter merged; "
                "set train.save: merged"
            )
        return self

    @model_validator(mode="after")
    def _choose_by_answers(self) -> Self:
        if self.train.choose == "frontier":
            if not self.generations.is_on or not self.judges:
                raise ValueError(
                    "train.choose: frontier judges answers of the steps; set generations.samples, and judges"
                )
            if self.train.keep == "best":
                raise ValueError("train.choose: frontier and train.keep: best each name a step to keep; take one away")
        return self

    @model_validator(mode="after")
    def _judge_by_names(self) -> Self:
        names = [judge.called for judge in self.judges]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"judges: two are called {', '.join(twice)}; give each a name of its own")
        own = [judge for judge in self.judges if judge.judge == "thumbs" and judge.options.get("model") is None]
        if own and not self.thumbs.is_on:
            raise ValueError(
                "judges: thumbs judges by the thumbs model; set thumbs.method, or options: {model: FOLDER}"
            )
        return self

    @property
    def address(self) -> str | None:
        """Where the run's folder lies where that is no folder of this machine; secrets of the address are in it."""
        return f"{self.runs.rstrip('/')}/{self.name}" if "://" in self.runs else None

    @property
    def run_dir(self) -> Path:
        """The folder that holds this run's stages: of a run at an address the one in which it works here."""
        return (Path(self.runs) if self.address is None else working_folder(self.runs)) / self.name

    def place(self, *names: str) -> str:
        """The path or address of what lies in the run's folder, as a person may be told it."""
        if self.address is None:
            return str(self.run_dir.joinpath(*names))
        return "/".join((without_secrets(self.address), *names))

    @property
    def store(self) -> str:
        """Folder or address of stored log-probs."""
        own = self.reference.store
        if "://" in own or self.address is None or Path(own).is_absolute():
            return own if "://" in own else str(Path(self.runs) / own)
        return f"{self.runs.rstrip('/')}/{own}"

    @property
    def replies(self) -> str:
        """Folder or address of kept replies of judges that cost something, beside the store of log-probs."""
        return f"{self.store.rstrip('/')}-replies"

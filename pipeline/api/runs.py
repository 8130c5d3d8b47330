"""A run's folder from Python: what is there as frames, what its stages did, and what the evaluation says."""

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from ..errors import PipelineError, unknown_name
from ..storage.attached import bring
from . import view
from .arguments import require_texts

if TYPE_CHECKING:
    # Imported where they are used: `import thumbline` should not wait for what is not called.
    from ..config import RunConfig
    from ..storage.manifests import Manifest

_WITHOUT_TEXTS: Final = ("events", "responses")


class NoSuchTableError(PipelineError, KeyError):
    """A table that a run does not hold, or not yet."""

    def __str__(self) -> str:
        """The message as it is, without a key's quotes."""
        return str(self.args[0])


class Tables(Mapping[str, pl.DataFrame]):
    """The tables of a run by name; each is read when it is asked for, and kept."""

    def __init__(self, folder: Path, manifests: "Mapping[str, Manifest]") -> None:
        """Nothing is read yet."""
        self._paths = {
            name: folder / stage / record.file
            for stage, manifest in manifests.items()
            for name, record in manifest.outputs.items()
        }
        self._read: dict[str, pl.DataFrame] = {}
        # What has to live as long as the tables, such as a temporary folder that they lie in.
        self.kept: object = None

    def __getitem__(self, name: str) -> pl.DataFrame:
        """The table's rows.

        Raises:
            NoSuchTableError: No finished stage has made a table of this name.
        """
        from ..storage.tables import read_table

        require_texts(name=name)
        if name not in self._paths:
            raise NoSuchTableError(unknown_name("table", name, self._paths or ["none: no stage has finished"]))
        if name not in self._read:
            self._read[name] = read_table(self._paths[name], name)
        return self._read[name]

    def with_texts(self, name: str) -> pl.DataFrame:
        """The rows of `events` or `responses` with the prompts and answers that they name, which lie in table `texts`.

        Raises:
            NoSuchTableError: No finished stage has made the table or its texts, or no table of texts belongs to it.
        """
        from ..storage.texts import with_texts
        from ..tables import TEXTS

        rows = self[name]
        if name not in _WITHOUT_TEXTS:
            raise NoSuchTableError(unknown_name("table whose texts lie in table texts", name, _WITHOUT_TEXTS))
        return rows if set(TEXTS) <= set(rows.columns) else with_texts(rows, self["texts"], name)

    def __contains__(self, name: object) -> bool:
        """Whether a finished stage made it; nothing is read."""
        return isinstance(name, str) and name in self._paths

    def __iter__(self) -> Iterator[str]:
        """Names, in the order of the line."""
        return iter(self._paths)

    def __len__(self) -> int:
        """How many tables there are."""
        return len(self._paths)


class Run:
    """A run, finished or not.

    Attributes:
        folder: Where it lies; of a run at an address the folder of this machine that stands for it, in which tables
            appear as they are asked for.
        settings: What it was last started with.
        manifests: What each finished stage did, in the order of the line.
        tables: Its tables as polars frames, by name, read when they are asked for.
    """

    def __init__(self, folder: Path, settings: "RunConfig") -> None:
        """Read what the stages say of themselves; no table is read yet."""
        from .. import line
        from ..storage.kept import trusted_manifest

        self.folder, self.settings = folder, settings
        found = {name: trusted_manifest(folder / name) for name in line.STAGE_NAMES}
        self._missing = [name for name, manifest in found.items() if manifest is None]
        self.manifests = {name: manifest for name, manifest in found.items() if manifest is not None}
        self.tables = Tables(folder, self.manifests)

    @cached_property
    def counts(self) -> pl.DataFrame:
        """One row a finished stage: rows in, what they gave, out, merged and rejected, and seconds."""
        rows = [
            (name, m.counts.rows_in, m.counts.given, m.counts.rows_out, m.counts.merged, m.counts.rejected, m.seconds)
            for name, m in self.manifests.items()
        ]
        numbers = {name: pl.Int64 for name in ("in", "gave", "out", "merged", "rejected")}
        return pl.DataFrame(rows, schema={"stage": pl.String, **numbers, "seconds": pl.Float64}, orient="row")

    @property
    def reasons(self) -> dict[str, int]:
        """Rows of the logs that could not be used, by reason, most frequent first."""
        notes = self.manifests["events"].notes if "events" in self.manifests else {}
        found: dict[str, int] = notes.get("reject_reasons", {})
        return dict(sorted(found.items(), key=lambda entry: (-entry[1], entry[0])))

    @property
    def metrics(self) -> pl.DataFrame:
        """Table `metrics`: every number with its interval.

        Raises:
            NoSuchTableError: The run has not been evaluated yet.
        """
        return self.tables["metrics"]

    @property
    def verdict(self) -> str | None:
        """What the report says in its first sentence; None where there is no report yet."""
        from ..storage.kept import check_kept

        path = self.folder / "report" / "metrics.json"
        bring(path)
        if not path.is_file():
            return None
        check_kept(path)
        return str(json.loads(path.read_text(encoding="utf-8"))["verdict"]["sentence"])

    @property
    def report(self) -> Path | None:
        """The page that a person opens; None where there is none yet."""
        path = self.folder / "report" / "report.html"
        bring(path)
        return path if path.is_file() else None

    @property
    def model(self) -> Path | None:
        """The trained model's folder; None where nothing was trained yet."""
        path = self.folder / "train" / "model"
        bring(path)
        return path if path.is_dir() else None

    def __repr__(self) -> str:
        """Name, stages and verdict in a line."""
        stages = f"{len(self.manifests)} of {len(self.manifests) + len(self._missing)} stages"
        return f"<thumbline run '{self.settings.name}': {stages}{f'. {self.verdict}' if self.verdict else ''}>"

    def _repr_html_(self) -> str:
        """What each stage did, what is still to do, and the verdict."""
        return view.page(
            view.paragraph(self.verdict or f"Run '{self.settings.name}' in {self.settings.place()}", strong=True),
            view.frame(self.counts),
            view.paragraph(f"Still to run: {', '.join(self._missing)}.") if self._missing else "",
            view.paragraph(f"Report: {self.report}") if self.report else "",
        )


def load(folder: str | Path) -> Run:
    """A run as it stands in its folder, finished or not.

        run = thumbline.load("runs/quickstart")
        run.tables["pairs"], run.metrics, run.verdict

    Args:
        folder: Folder or address (`s3://bucket/runs/mine`) that `thumbline run`, `thumbline.run`, `prepare` or `train`
            wrote to.

    Raises:
        ConfigError: It is not the folder of a run.
    """
    from .. import line

    place = str(folder)
    config = line.open_run(place) if "://" in place else line.load_saved_config(Path(folder).absolute())
    return Run(config.run_dir, config)


def run(
    config: str | Path | Mapping[str, Any], *, until: str | None = None, on: str | None = None, **settings: Any
) -> Run:
    """Run the whole line, as `thumbline run` does: what is up to date is skipped, what was interrupted goes on.

        run = thumbline.run("my_run.yaml", until="splits", **{"train.method": "kto"})

    Args:
        config: A run file, or its content as a mapping; then `name` must be in it.
        until: The last stage to run; None for all.
        on: Where tasks and scoring engines run, `local` or `ray`; None: what `scale.runner` says.
        settings: Over those of `config`: sections (`train={...}`) or dotted keys (`"train.method"`).

    Raises:
        PipelineError: What a stage says about its inputs, its settings or this machine.
    """
    from .. import line
    from .settings import placed_on, sections_of

    loaded = configured(config, sections_of(settings | placed_on(on), "thumbline.run"), "thumbline.run")
    stages = line.select(None, until)
    line.see(loaded)
    line.check_run(loaded, stages)
    for _ in line.run(loaded, stages, command="thumbline.run(...)"):
        pass
    return load(loaded.run_dir if loaded.address is None else loaded.address)


def configured(config: str | Path | Mapping[str, Any], sections: Mapping[str, Any], origin: str) -> "RunConfig":
    """The settings of a run file, or of its content, with `sections` over them.

    Args:
        config: A run file, or its content as a mapping.
        sections: What is set beside it.
        origin: Who asks, for errors.

    Raises:
        ConfigError: A setting does not hold.
    """
    from ..config import build_config, load_config

    if isinstance(config, Mapping):
        return build_config(_over(config, sections), origin=origin)
    loaded = load_config(Path(config))
    document = _over(loaded.model_dump(mode="json", exclude_unset=True), sections)
    return build_config(document, origin=str(config))


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of `above` over those of `below`, section by section."""
    both = dict(below)
    for name, value in above.items():
        both[name] = {**both.get(name, {}), **value} if isinstance(value, Mapping) else value
    return both

"""Feedback to training data from Python: any rows at hand to unpaired rows, pairs and splits, as frames."""

from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from ..errors import ConfigError, InputError
from . import view
from .arguments import check_paths
from .given import Given, as_inputs
from .runs import Run

if TYPE_CHECKING:
    # Imported where they are used: `import thumbline` should not wait for what is not called.
    from ..config import RunConfig
    from ..dataset.prepared import Exported
    from ..importers.own import Adapter
    from ..line import Stage

_ORIGIN: Final = "thumbline.prepare"
_SHOWN_REASONS: Final = 5


class Prepared(Run):
    """What feedback became: a run that has reached its splits.

    Its folder is a temporary one that goes with this result, unless `prepare` was given one.
    """

    def __init__(self, folder: Path, settings: "RunConfig", temporary: TemporaryDirectory[str] | None) -> None:
        """Keep the folder for as long as the result lives."""
        super().__init__(folder, settings)
        self._temporary = temporary
        self.tables.kept = temporary

    @property
    def events(self) -> pl.DataFrame:
        """One row a feedback event, with the texts that it is about."""
        return self.tables.with_texts("events")

    @property
    def responses(self) -> pl.DataFrame:
        """One row an answer: its texts, its votes counted, their posterior, and its label or none."""
        return self.tables.with_texts("responses")

    @property
    def unpaired(self) -> pl.DataFrame:
        """KTO's rows: prompt, completion, label."""
        return self.tables["unpaired"]

    @property
    def pairs(self) -> pl.DataFrame:
        """DPO's rows: prompt, chosen, rejected."""
        return self.tables["pairs"]

    @property
    def splits(self) -> pl.DataFrame:
        """Which prompt is in which split."""
        return self.tables["splits"]

    @property
    def rejects(self) -> pl.DataFrame:
        """Rows that could not be used: reason, place, and what was there."""
        return self.tables["rejects"]

    @property
    def report(self) -> Path:
        """The page that shows what became of the log; written when it is first asked for, with `dataset`."""
        return self.folder / self._exported.report

    @property
    def dataset(self) -> Path:
        """A folder that `datasets` and TRL load and the hub takes: rows by split, and a card."""
        return (self.folder / self._exported.card).parent

    @property
    def left_out(self) -> dict[str, int]:
        """Rows that are not in `dataset`, since no trainer takes them, by reason; its `rejects.jsonl` names each."""
        return dict(self._exported.left_out)

    @cached_property
    def _exported(self) -> "Exported":
        from .. import line
        from ..dataset.prepared import export_dataset

        with line.held(self.settings):
            return export_dataset(self.settings, f"{_ORIGIN}(...)")

    def __repr__(self) -> str:
        """What came out, in a line."""
        sizes = ", ".join(f"{self.manifests[name].counts.rows_out:,} {name}" for name in ("events", "unpaired"))
        pairs = self.manifests["pairs"].outputs["pairs"].rows
        return f"<thumbline.Prepared: {sizes}, {pairs:,} pairs; {sum(self.reasons.values()):,} rejected>"

    def _repr_html_(self) -> str:
        """Each stage's counts, why rows were rejected, and the first rows."""
        reasons = list(self.reasons.items())[:_SHOWN_REASONS]
        first = self.pairs if len(self.pairs) else self.unpaired
        return view.page(
            view.frame(self.counts.drop("seconds")),
            view.table(("rejected because", "rows"), reasons) if reasons else "",
            view.first_texts(first, ("prompt", "chosen", "rejected", "completion", "label")),
        )


def prepare(
    rows: Given,
    *,
    adapter: "Adapter | None" = None,
    output: str | Path | None = None,
    format: str = "auto",
    on: str | None = None,
    **settings: Any,
) -> Prepared:
    """Unpaired rows, pairs and splits of feedback, from files or from rows at hand.

        data = thumbline.prepare("logs/*.jsonl")
        data.pairs, data.reasons, data.report

        frame = pl.DataFrame({"prompt": ["Hi"], "completion": ["Hello!"], "vote": ["up"]})
        thumbline.prepare(frame, pairs={"strategy": "all_above_margin"}, **{"splits.test": 0.1})

        def mine(row):  # a format of one's own: a row's event, or several in a list
            vote = {1: "down", 5: "up"}.get(row["stars"])
            return {"prompt": row["q"], "completion": row["a"], "vote": vote, "user_id": row["who"]}

        thumbline.prepare("my_log.csv", adapter=mine)

    Args:
        rows: Files, folders, globs or `hub:` addresses; or a frame of polars, pandas, pyarrow or `datasets`, or dicts.
        adapter: Reads a row, a dict, into its event: a mapping with `prompt`, `completion` and `vote`, and where
            known `user_id`, `conversation_id`, `model`, `created_at` and what else `RawEvent` has; or a list of them.
            It runs in this process, and always again: what it closes over may have changed.
        output: Folder or address (`s3://bucket/mine`) for the tables, as `thumbline prepare` leaves them, which is
            written to again where inputs or settings have changed; None: a temporary one, which goes with the result.
        format: A name of `thumbline formats`; `auto` tells it by the fields.
        on: Where tasks run, `local` or `ray`; None: what `scale.runner` says. An adapter runs in this process.
        settings: Those of a run file: sections (`pairs={...}`) or dotted keys (`"pairs.strategy"`).

    Raises:
        ConfigError: A setting does not hold, or the adapter gives something else than events.
        InputError: `rows` stand for nothing, or their fields fit no format.
    """
    from .. import line
    from ..config.places import working_run
    from ..importers import own
    from ..importers.registry import using
    from .settings import LAST_STAGE_OF, NO_MODEL, placed_on, run_config, sections_of

    if adapter is not None and format != "auto":
        raise ConfigError(f"{_ORIGIN}: format '{format}' and an adapter cannot both read the rows; give one of them.")
    if adapter is not None and not callable(adapter):
        raise ConfigError(f"{_ORIGIN}: an adapter is a function; a format is named by `format`.")
    check_paths(output=output)
    temporary = None if output is not None else TemporaryDirectory(prefix="thumbline-")
    place = Path(temporary.name) / "prepared" if temporary is not None else _place(str(output))
    folder = working_run(place) if isinstance(place, str) else place
    sections = sections_of(settings | placed_on(on), _ORIGIN)
    if not isinstance(sections.get("events", {}), dict):
        raise ConfigError(f"{_ORIGIN}: 'events' is a section; give its settings as a dict.")
    sections["events"] = {"format": format if adapter is None else own.NAME, **sections.get("events", {})}
    config = run_config(as_inputs(rows, folder), place, NO_MODEL, origin=_ORIGIN, **sections)
    stages = line.select(None, LAST_STAGE_OF["prepare"])
    try:
        if adapter is not None:
            with using(own.spec_of(adapter)):
                _finish(config, stages[:1], forced=True)
        _finish(config, stages if adapter is None else stages[1:])
    except InputError as error:
        raise _explained(error, config, kept=temporary is None) from error
    prepared = Prepared(config.run_dir, config, temporary)
    if temporary is None:
        _ = prepared.report
    return prepared


def _place(output: str) -> Path | str:
    """A folder's whole path, or an address as it is."""
    return output if "://" in output else Path(output).absolute()


def _explained(error: InputError, config: "RunConfig", *, kept: bool) -> InputError:
    """The error with what was rejected, which a temporary folder takes away; a folder that stays gets its page."""
    from ..dataset.prepared import write_report

    read = Run(config.run_dir, config)
    if kept and "events" in read.manifests:
        write_report(config, f"{_ORIGIN}(...)")
    reasons = ", ".join(f"{reason} {rows:,}" for reason, rows in read.reasons.items())
    # The first stage has named them where it found nothing to use.
    if not reasons or not read.manifests["events"].counts.rows_out:
        return error
    return InputError(f"{error} Rejected rows by reason: {reasons}.")


def _finish(config: "RunConfig", stages: "tuple[Stage, ...]", *, forced: bool = False) -> None:
    from .. import line

    for _ in line.run(config, stages, forced=forced, command=f"{_ORIGIN}(...)"):
        pass

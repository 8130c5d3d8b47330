"""The pages of `pipeline/docs` that are made from the code: settings, methods, tables, reasons and the Python API.

    python -m tests.documents

writes them; `tests/unit/docs/test_pages.py` holds them to be current.
"""

import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import thumbline
from thumbline.losses.describing import describe_method
from thumbline.losses.registry import describe
from thumbline.pipeline.config.schema import Setting, settings_named, summaries
from thumbline.pipeline.ingest.reasons import WAYS_OUT
from thumbline.pipeline.line import STAGES
from thumbline.pipeline.tables import TABLES, describe_table
from thumbline.pipeline.training.methods import AS_SETTINGS

PAGES: Final = Path(__file__).parents[1] / "pipeline" / "docs"
_MADE: Final = "<!-- Made by `python -m tests.documents`. -->"
# What a page would read as markup.
_MARKUP: Final = re.compile(r"([\\*\[\]<>|])")
_MISSING: Final = {"no": "", "allowed": "may be null", "the column too": "the column may be absent"}


def _prose(text: str) -> str:
    """Text in a cell: what stands in backticks stays as it is, but for the bar that ends a cell."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(part.replace("|", r"\|") if part.startswith("`") else _MARKUP.sub(r"\\\1", part) for part in parts)


def _table(rows: Sequence[Mapping[str, str]]) -> list[str]:
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return [*(f"| {' | '.join(cells)} |" for cells in lines), ""]


def _page(title: str, lead: str, lines: Iterable[str]) -> str:
    return "\n".join([_MADE, "", f"# {title}", "", lead, "", *lines]).rstrip() + "\n"


def _default(setting: Setting) -> str:
    if setting.takes == "section":
        return ""
    if setting.required:
        return "required"
    return "unset" if setting.default in (None, "") else f"`{json.dumps(setting.default, ensure_ascii=False)}`"


def settings_page() -> str:
    """Every setting of a run file, by section."""
    lines: list[str] = []
    for section, summary in summaries().items():
        own = [one for one in settings_named() if one.key.rpartition(".")[0] == section]
        lines += [f"## {section or 'The file itself'}", "", _prose(summary), ""]
        lines += _table(
            [
                {
                    "setting": f"`{one.key.rpartition('.')[2]}`",
                    "takes": _prose(one.takes + (f" ({one.unit})" if one.unit else "")),
                    "default": _default(one),
                    "meaning": _prose(one.meaning),
                }
                for one in own
            ]
        )
    lead = (
        "A run file is YAML. `thumbline settings SECTION` prints the same on a terminal, and `thumbline settings "
        "--schema` the JSON schema that editors complete and check with. What `train.loss` holds hangs on the method: "
        "[methods](methods.md)."
    )
    return _page("Settings", lead, lines)


def methods_page() -> str:
    """Every method and its hyper-parameters."""
    lines: list[str] = []
    for method in describe():
        name = str(method["method"])
        facts = "; ".join(f"{key}: {method[key]}" for key in ("data", "reference", "weights held"))
        lines += [
            f"## {name}",
            "",
            f"{method['title']}. {_prose(str(method['use it for']))}",
            "",
            f"{_prose(facts)}.",
            "",
        ]
        rows = describe_method(name)
        if rows:
            lines += _table(
                [
                    {
                        "`train.loss`": f"`{row['hyper-parameter']}`",
                        "takes": _prose(str(row["takes"])),
                        "default": f"`{row['default']}`",
                        "meaning": _prose(str(row["meaning"])),
                    }
                    for row in rows
                ]
            )
    lines += ["## Settings that change a method", ""]
    lines += _table(
        [
            {
                "method": row["title"],
                "set": f"`{row['setting']}`",
                "data": row["data"],
                "use it for": _prose(row["use it for"]),
            }
            for row in AS_SETTINGS.values()
        ]
    )
    lead = (
        "What `train.method` takes, when to use it, and its hyper-parameters. `thumbline losses` and `thumbline losses "
        "METHOD` print the same."
    )
    return _page("Methods", lead, lines)


def tables_page() -> str:
    """Every table of a run, by the stage that writes it."""
    lines: list[str] = []
    for stage in STAGES:
        names = [name for name in stage.outputs if name in TABLES]
        lines += [f"## {stage.name}", ""]
        if stage.folders:
            lines += [f"Folders: {', '.join(f'`{stage.name}/{folder}/`' for folder in stage.folders)}.", ""]
        for name in names:
            lines += [f"### {name}", "", f"`{stage.name}/{name}.parquet`", ""]
            lines += _table(
                [
                    {
                        "column": f"`{row['column']}`",
                        "type": _prose("; ".join(filter(None, [row["type"], row["values"], _MISSING[row["missing"]]]))),
                        "meaning": _prose(row["meaning"]),
                    }
                    for row in describe_table(name)
                ]
            )
    lead = (
        "A run is a folder with a folder a stage. Beside its tables each holds `manifest.json`: fingerprint, settings, "
        "digests of inputs and outputs, counts and notes. `thumbline tables NAME` prints the columns of one table."
    )
    return _page("Files and tables", lead, lines)


def reasons_page() -> str:
    """Every reason for which a row or file of a log is rejected, and what helps."""
    rows = [{"reason": f"`{name}`", "what helps": _prose(helps)} for name, helps in WAYS_OUT.items()]
    lead = (
        "Why rows or files of a log give no event, where something helps. `thumbline rejects RUN` shows the rows "
        "themselves with their details, and `thumbline status RUN` the counts."
    )
    return _page("Reasons", lead, _table(rows))


def api_page() -> str:
    """Every public name of the package."""
    lines: list[str] = []
    for name in thumbline.__all__:
        found: Any = getattr(thumbline, name)
        text = inspect.getdoc(found) or ""
        if inspect.ismodule(found):
            lines += [f"## thumbline.{name}", "", text.splitlines()[0], ""]
            lines += [f"Names: {', '.join(f'`{one}`' for one in found.__all__)}.", ""]
            continue
        head = f"{name}{inspect.signature(found)}" if inspect.isfunction(found) else f"class {name}"
        members = [
            f"- `{key}`: {' '.join((inspect.getdoc(value) or '').partition(chr(10))[0].split())}"
            for key, value in vars(found).items()
            if not inspect.isfunction(found) and not key.startswith("_") and inspect.getdoc(value)
            if isinstance(value, property) or inspect.isfunction(value) or hasattr(value, "attrname")
        ]
        lines += [f"## thumbline.{name}", "", "```text", head, "", text, "```", "", *members, ""]
    lead = (
        "What `import thumbline` offers. Errors that a user can cause derive from `thumbline.PipelineError` and from a "
        "standard type. The classes are made by the functions, not by hand."
    )
    return _page("Python", lead, lines)


MADE: Final[Mapping[str, Callable[[], str]]] = {
    "settings.md": settings_page,
    "methods.md": methods_page,
    "tables.md": tables_page,
    "reasons.md": reasons_page,
    "api.md": api_page,
}


def main() -> None:
    """Write the pages."""
    for name, make in MADE.items():
        (PAGES / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()

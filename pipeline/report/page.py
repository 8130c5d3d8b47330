"""The page: facts and pictures set into Jinja2 templates, with everything inside one file."""

import base64
import hashlib
import re
from functools import lru_cache
from importlib import resources
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from . import evaluation_parts, formatting
from .facts import ReportFacts
from .inputs import Missing
from .pictures import Pictures
from .worst_losses import visible

_PACKAGE: Final = "thumbline.pipeline.report"
# Characters of a word that a tile has room for at the size of its numbers.
_LONG_WORD: Final = 10


def render_page(facts: ReportFacts, pictures: Pictures) -> str:
    """The report as one HTML document."""
    return render_template("page.html.j2", facts=facts, pictures=pictures)


def render_template(name: str, **values: Any) -> str:
    """One HTML document that needs nothing else: style, script and pictures are inside it."""
    script = _asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = (
        _environment()
        .get_template(name)
        .render(
            **values,
            # Ours, from files of this package. Only this script may run: the policy names its digest.
            style=Markup(_asset("page.css")),
            script=Markup(script),
            script_digest=digest,
        )
    )
    return formatting.plain(page)


def _prose(text: str) -> Markup:
    """Escaped text in which what stands between backticks is code."""
    parts = (
        Markup("<code>{}</code>" if place % 2 else "{}").format(part) for place, part in enumerate(text.split("`"))
    )
    return Markup("").join(parts)


def _breakable(text: str) -> Markup:
    """Escaped text that a line may end in behind a slash, a dash or an underscore: of names and paths."""
    return Markup("<wbr>").join(re.split(r"(?<=[/_-])(?=[^/_-])", text))


def _asset(name: str) -> str:
    return (resources.files(_PACKAGE) / "templates" / name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(_PACKAGE, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=formatting.count,
        number=formatting.number,
        percent=formatting.percent,
        measure=formatting.measure,
        interval=formatting.interval,
        plural=formatting.plural,
        words=formatting.words,
        sentence=formatting.sentence,
        capital=formatting.capital,
        model_name=formatting.model_name,
        moment=formatting.moment,
        change=formatting.change,
        difference=formatting.difference,
        changes=evaluation_parts.changes,
        reliability=evaluation_parts.reliability,
        of_evaluator=evaluation_parts.of_evaluator,
        strata=evaluation_parts.strata,
        rest=evaluation_parts.rest,
        slice_tables=evaluation_parts.slice_tables,
        other_slices=evaluation_parts.other_slices,
        single_slices=evaluation_parts.single_slices,
        telling_slices=evaluation_parts.telling_slices,
        prose=_prose,
        visible=visible,
        shown=evaluation_parts.shown,
        shown_interval=evaluation_parts.shown_interval,
        counted=formatting.counted,
        breakable=_breakable,
        duration=formatting.seconds,
    )
    environment.tests["long"] = lambda text: max(map(len, text.split())) > _LONG_WORD
    environment.tests["small"] = evaluation_parts.is_small
    environment.tests["gap"] = evaluation_parts.is_gap
    environment.tests["missing"] = lambda value: isinstance(value, Missing)
    return environment

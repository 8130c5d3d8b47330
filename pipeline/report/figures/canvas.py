"""Blank figures in the page's colours, and figures as inline SVG that follows light, dark and print.

Every figure is drawn at the width of a phone's column and set in a grid, so its text stays readable there. Colours
are drawn as the light theme's values and then replaced by the page's custom properties. Text stays text.
"""

import io
import re
import warnings
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK: Final = "#1d2126"
MUTED: Final = "#5b636d"
RULE: Final = "#d9d6cf"
FAINT: Final = "#b9bec4"
ACCENT: Final = "#2b5c8f"
CHOSEN: Final = "#1a7f78"
REJECTED: Final = "#b9552a"
BAND: Final = "#8a6fae"
PAPER: Final = "#fbfaf7"
_VARIABLES: Final = {
    INK: "--ink",
    MUTED: "--muted",
    RULE: "--rule",
    FAINT: "--faint",
    ACCENT: "--accent",
    CHOSEN: "--chosen",
    REJECTED: "--rejected",
    BAND: "--band",
    PAPER: "--paper",
}
# Points. At 72 points an inch a point is one unit of the SVG; 360 is a phone's column.
WIDTH: Final = 360
_POINTS_PER_INCH: Final = 72
# Points from one line of a key to the next.
KEY_LINE: Final = 16
_FONT_POINTS: Final = 12
_SETTINGS: Final[dict[str, Any]] = {
    "svg.fonttype": "none",
    "path.simplify": False,
}
_NUMBER: Final = re.compile(r"-?\d+\.\d{3,}")


class Picture(NamedTuple):
    """A figure of the page.

    Attributes:
        svg: Inline SVG with its alternative text.
        caption: What it shows, in one or two sentences.
    """

    svg: Markup
    caption: str


def blank(height: float, *, left: float = 46, right: float = 12, top: float = 12, bottom: float = 34) -> Axes:
    """Axes on a transparent figure of the standard width.

    Args:
        height: Of the whole figure, points.
        left: Margins in points, as the others: fixed, so that no text measuring decides the layout.
        right: See `left`.
        top: See `left`.
        bottom: See `left`.
    """
    figure = Figure(figsize=(WIDTH / _POINTS_PER_INCH, height / _POINTS_PER_INCH), dpi=_POINTS_PER_INCH)
    FigureCanvasSVG(figure)
    figure.patch.set_visible(False)
    place = (left / WIDTH, bottom / height, 1 - (left + right) / WIDTH, 1 - (top + bottom) / height)
    axes = figure.add_axes(place)
    axes.patch.set_visible(False)
    axes.tick_params(colors=MUTED, labelsize=_FONT_POINTS - 1, length=0, pad=5)
    for name, spine in axes.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color(FAINT)
        spine.set_linewidth(1.0)
    axes.grid(True, axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def bare(axes: Axes) -> None:
    """Leave neither ticks, grid nor frame."""
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def write(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:
    """Text in the drawing; never read as mathematics, since names may hold a dollar sign."""
    axes.text(x, y, text, **{"fontsize": _FONT_POINTS, "color": INK, "parse_math": False, **style})


def key(axes: Axes, entries: Sequence[tuple[str, str]]) -> None:
    """Names above the drawing, each in its line's colour."""
    x = 0.0
    for name, colour in entries:
        axes.annotate(
            name,
            (x, 1),
            xycoords="axes fraction",
            xytext=(0, 8),
            textcoords="offset points",
            color=colour,
            fontsize=_FONT_POINTS - 0.5,
            parse_math=False,
        )
        x += (22 + 6.2 * len(name)) / (WIDTH - 58)


def key_lines(axes: Axes, entries: Sequence[tuple[str, str]]) -> None:
    """Names above the drawing, one below the other: for names too long to stand side by side."""
    for place, (name, colour) in enumerate(reversed(entries)):
        axes.annotate(
            name,
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, 8 + KEY_LINE * place),
            textcoords="offset points",
            color=colour,
            fontsize=_FONT_POINTS - 0.5,
            parse_math=False,
        )


def horizontal_label(axes: Axes, text: str) -> None:
    """Name what runs along the bottom."""
    axes.set_xlabel(text, color=MUTED, fontsize=_FONT_POINTS - 1, labelpad=4)


def inline_svg(axes: Axes, name: str, alternative: str) -> Markup:
    """The figure of `axes` as an SVG element: the same drawing gives the same bytes.

    Args:
        axes: Axes of a figure made by `blank`.
        name: Unique on the page; it keeps the ids of two figures apart.
        alternative: What a reader who cannot see the picture is told.
    """
    stream = io.StringIO()
    figure = axes.get_figure(root=True)
    assert figure is not None, f"{name}: these axes are in no figure"
    with mpl.rc_context({**_SETTINGS, "svg.hashsalt": name}), warnings.catch_warnings():
        # Text stays text: the reader's fonts draw it, whatever the ones here lack.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = stream.getvalue()
    body = text[text.index(">", text.index("<svg")) + 1 :]
    body = _in_page_colours(_own_ids(_short(body), name))
    height = round(figure.get_figheight() * _POINTS_PER_INCH, 1)
    opening = f'<svg class="plot" viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(alternative)}"'
    # Matplotlib escapes the text that it writes; the alternative text is escaped above.
    return Markup(f"{opening}>{body.strip()}")


def _short(body: str) -> str:
    """Without metadata, and with coordinates to a hundredth of a point."""
    # A <style> inside an inline SVG would rule the whole page.
    body = re.sub(r"<(metadata|style)\b.*?</\1>|<!--.*?-->", "", body, flags=re.DOTALL)
    # Inside tags only: what stands between them are the numbers that a reader sees.
    body = re.sub(r"<[^>]*>", lambda tag: _NUMBER.sub(lambda found: f"{float(found.group()):.2f}", tag.group()), body)
    body = re.sub(r"font-family: [^;\"]*;?", "", body)
    return re.sub(r"\s*\n\s*", "\n", body)


def _own_ids(body: str, name: str) -> str:
    """Ids that no other figure of the page has, and only those that something refers to."""
    used = set(re.findall(r'(?:url\(|href=")#([^)"]+)', body))
    body = re.sub(
        r' id="([^"]+)"', lambda found: f' id="{name}-{found.group(1)}"' if found.group(1) in used else "", body
    )
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", body)
    return re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', body)


def _in_page_colours(body: str) -> str:
    for value, variable in _VARIABLES.items():
        body = body.replace(value, f"var({variable})")
    return body

"""What a held-out row can be sliced by: facts of its answer and prompt, of which no text is kept."""

from typing import Final

import polars as pl

# Scripts told apart by their letters: what can be known of a prompt's language without a model of it.
_SCRIPTS: Final[dict[str, str]] = {
    "latin": r"\p{Latin}",
    "cyrillic": r"\p{Cyrillic}",
    "han": r"\p{Han}",
    "kana": r"[\p{Hiragana}\p{Katakana}]",
    "hangul": r"\p{Hangul}",
    "arabic": r"\p{Arabic}",
    "devanagari": r"\p{Devanagari}",
    "greek": r"\p{Greek}",
    "hebrew": r"\p{Hebrew}",
    "thai": r"\p{Thai}",
}


def response_facts(responses: pl.DataFrame) -> pl.DataFrame:
    """`response_id` and what a held-out row can be sliced by."""
    return responses.select(
        "response_id",
        response_model="model",
        script=script_of(pl.col("prompt").list.last().struct.field("content")),
        turns=pl.col("prompt").list.eval(pl.element().struct.field("role") == "user").list.sum().cast(pl.Int64),
        votes=pl.col("n_up") + pl.col("n_down"),
    )


def script_of(text: pl.Expr) -> pl.Expr:
    """The script of most letters of a text; null where there is no letter of a known one."""
    counts = {name: text.str.count_matches(pattern) for name, pattern in _SCRIPTS.items()}
    most = pl.max_horizontal(*counts.values())
    script: pl.Expr = pl.lit(None, pl.String)
    for name in reversed(_SCRIPTS):
        script = pl.when((counts[name] == most) & (most > 0)).then(pl.lit(name)).otherwise(script)
    return script

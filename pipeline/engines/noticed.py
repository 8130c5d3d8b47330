"""What is noticed of rows while they become token ids, and is said with its count: nothing is changed unsaid."""

from collections.abc import Mapping
from typing import Final

import polars as pl

# In the order in which they are said.
NOTICED: Final[Mapping[str, str]] = {
    "apart": "the chat template writes earlier turns otherwise once there is an answer; prompt and answer were "
    "tokenised apart",
    "shortened": "the prompt ends before what the chat template opens for generation alone, such as a thought, or "
    "before tokens that merge with the answer's",
    "answer_rewritten": "the chat template leaves out or changes a part of the answer (thoughts, usually), which is "
    "neither scored nor trained on",
    "thought_kept": "the answer begins with a thought, which is scored and trained on like the rest (sequences.think)",
    "thought_masked": "the answer begins with a thought, which is given to the model and neither scored nor trained on "
    "(sequences.think)",
    "thought_inside": "the answer holds a thought further in, which is scored and trained on like the rest",
    "prompt_rewritten": "the chat template leaves out or changes a part of the prompt's texts",
    "earlier_reasoning_left_out": "the chat template leaves out thoughts of earlier turns",
    "name_left_out": "the chat template leaves out a message's name",
    "rendered_prompt": "a text of the prompt was written in a chat template before; such rows want the template plain",
    "control_tokens": "a text holds control tokens, which the model reads as such",
    "end_token_given": "the answer had its end token already and got no second one",
    "begin_token_given": "the prompt had its begin token already and got no second one",
    "system_moved": "the system text stands before a user's text (sequences.system: first_user)",
}


def count_noticed(entries: pl.DataFrame) -> dict[str, int]:
    """Rows of each name of `NOTICED` that a row has.

    Args:
        entries: Columns boundary and noticed of `encoded.sequence_columns`.
    """
    names = pl.concat([entries["boundary"], entries["noticed"].explode().drop_nulls()])
    counted = dict(names.value_counts().iter_rows())
    return {name: counted[name] for name in NOTICED if name in counted}


def told(counts: Mapping[str, int], rows: int, what: str = "rows") -> list[str]:
    """A sentence for each name of `NOTICED` that a row has.

    Args:
        counts: Rows of each name.
        rows: All rows.
        what: What a row is to a reader.
    """
    return [f"in {counts[name]:,} of {rows:,} {what} {words}." for name, words in NOTICED.items() if counts.get(name)]


def is_written(text: str, whole: str) -> bool:
    """Whether a text stands in what a template wrote, but for white space."""
    return text.strip() in whole or "".join(text.split()) in "".join(whole.split())

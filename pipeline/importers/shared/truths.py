"""Labels that say good or not: true and false, and 1 and 0 in a column that holds nothing else."""

from typing import Final

from ...reading.records import Options, Sample
from .labels import Labels, label_key, label_options, labels_of

_TRUTHS: Final = {True: "up", False: "down"}
_WORDS: Final = {"true": "up", "false": "down"}
_BITS: Final = {"1": "up", "0": "down"}
OPTIONS: Final = label_options(_TRUTHS)


def labels(sample: Sample, column: str, options: Options) -> Labels:
    """The labels of a column of truths.

    Args:
        sample: The first rows of its source.
        column: The column.
        options: Those of the format, among which labels may be stated.
    """
    seen = {label_key(record.get(column)) for record in sample.records if record.get(column) is not None}
    words = _WORDS | _BITS if seen <= _WORDS.keys() | _BITS.keys() else _WORDS
    found = labels_of(options, _TRUTHS)
    return found._replace(stated=found.stated.over(words))

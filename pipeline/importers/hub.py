"""Data sets of the hub, or a local folder of one (`hub:./folder`), read by the columns of their rows.

The rows stream: nothing is copied to a cache, and memory does not grow with the data set. A damaged file inside a
data set cannot be guarded row by row and is an error.
"""

from collections.abc import Iterator
from typing import Final

from ..errors import ConfigError, InputError, unknown_name
from ..reading.files import take_sample
from ..reading.hub import OWN_OPTIONS, PREFIX
from ..reading.records import Options, Sample, Source
from . import argilla, fastchat, finegrained_rlhf, helpsteer, hh_rlhf, open_assistant, thumbs_jsonl, trl
from .base import Batch, ImporterSpec

NAME: Final = "hub"
# What is published as a data set, in the registry's order; logs of tools are files.
_INNER: Final = (
    fastchat.SPEC,
    open_assistant.SPEC,
    finegrained_rlhf.SPEC,
    argilla.SPEC,
    helpsteer.SPEC,
    hh_rlhf.SPEC,
    trl.SPEC,
    thumbs_jsonl.SPEC,
)


def detect(sample: Sample, options: Options) -> bool:
    """Whether the source was named as a hub data set; a file never is."""
    return sample.name.startswith(PREFIX)


def read(source: Source, options: Options) -> Iterator[Batch]:
    """Batches of the data set, read as the first importer that knows its columns.

    Raises:
        InputError: The data set does not load, or no importer knows its columns.
        ConfigError: An option is not one of the importer that does.
    """
    sample = take_sample(source)
    inner = {name: value for name, value in options.items() if name not in OWN_OPTIONS}
    for spec in _INNER:
        if spec.detect(sample, inner):
            for name in inner:
                if name not in spec.options:
                    unknown = unknown_name(f"option of {spec.name}", name, spec.options or ["none"])
                    raise ConfigError(f"{source.name}: {unknown}")
            return spec.read(source, inner)
    known = ", ".join(spec.name for spec in _INNER)
    raise InputError(f"{source.name}: columns {', '.join(sample.fields)} are rows of none of {known}; map them.")


SPEC: Final = ImporterSpec(
    name=NAME,
    description=f"`hub:ID` or `hub:./folder`: a data set of the hub, read as {', '.join(one.name for one in _INNER)}.",
    detect=detect,
    read=read,
    options={
        "split": "Split to read (default train).",
        "name": "Configuration of the data set.",
        "revision": "Branch, tag or commit; pin it to make a run repeatable.",
        **{name: meaning for one in _INNER for name, meaning in one.options.items()},
    },
)

"""Every log format, and how a source's format is found."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Final

from thumbline import plugins

from ..errors import ConfigError, InputError, examples, unknown_name
from ..reading.files import FileSource, take_sample
from ..reading.hub import OPTIONS as HUB_OPTIONS
from ..reading.records import Options, Sample
from . import (
    anythingllm,
    arena,
    argilla,
    chainlit,
    chat_ui,
    chatgpt,
    convai2,
    conversations,
    dify,
    fastchat,
    finegrained_rlhf,
    gpt4all,
    gradio,
    helicone,
    helpsteer,
    hh_rlhf,
    label_studio,
    langfuse,
    langsmith,
    librechat,
    librechat_messages,
    llmfao,
    mlflow,
    open_assistant,
    open_webui,
    openai_preference,
    opik,
    otel,
    own,
    phoenix,
    posthog,
    thumbs_jsonl,
    trl,
    two_answers,
    weave,
)
from .base import ImporterSpec

# What a run states to have its formats detected; `hub` was once a format and is now where rows come from.
DETECTED: Final = frozenset({"auto", "hub"})
# Detection asks in this order: a format with more particular fields comes before one with common names.
_IN_ORDER: Final = (
    convai2.SPEC,
    open_webui.SPEC,
    librechat.SPEC,
    librechat_messages.SPEC,
    chat_ui.SPEC,
    gpt4all.SPEC,
    gradio.SPEC,
    arena.SPEC,
    fastchat.SPEC,
    open_assistant.SPEC,
    finegrained_rlhf.SPEC,
    llmfao.SPEC,
    label_studio.SPEC,
    argilla.SPEC,
    helpsteer.SPEC,
    hh_rlhf.SPEC,
    openai_preference.SPEC,
    trl.SPEC,
    conversations.SPEC,
    langfuse.SPEC,
    langsmith.SPEC,
    chatgpt.SPEC,
    chainlit.SPEC,
    dify.SPEC,
    anythingllm.SPEC,
    phoenix.SPEC,
    otel.SPEC,
    weave.SPEC,
    helicone.SPEC,
    posthog.SPEC,
    mlflow.SPEC,
    opik.SPEC,
    two_answers.SPEC,
    thumbs_jsonl.SPEC,
)
IMPORTERS: Final[dict[str, ImporterSpec]] = {spec.name: spec for spec in _IN_ORDER}
HUB_NAME: Final = "hub"
HUB: Final = "An input, not a format: a data set of the hub, or `hub:./folder`, of rows in any format below."
# Fields of data to imitate, as sets for fine-tuning have them: nothing among them says what was good.
_EXAMPLES: Final = frozenset({"messages", "conversations", "instruction", "input", "output", "system", "tools", "id"})
_SAMPLE_LINE_BYTES: Final = 16 * 1024 * 1024
_GROUP: Final = "thumbline.importers"
_PLUGINS: Final = plugins.Plugins(_GROUP, ImporterSpec, IMPORTERS)
# An importer that belongs to one call, such as a notebook's own function.
_IN_USE: Final[ContextVar[ImporterSpec | None]] = ContextVar("importer_in_use", default=None)


@contextmanager
def using(spec: ImporterSpec) -> Iterator[None]:
    """Know one more format for as long as the block runs, in this thread."""
    token = _IN_USE.set(spec)
    try:
        yield
    finally:
        _IN_USE.reset(token)


def importer(name: str) -> ImporterSpec:
    """The format called `name`: one of `IMPORTERS`, one in use, or one that an installed package adds.

    Raises:
        ConfigError: There is none, or its package is broken.
    """
    in_use = _IN_USE.get()
    if in_use is not None and in_use.name == name:
        return in_use
    try:
        added = _PLUGINS.get(name)
    except plugins.PluginError as error:
        raise ConfigError(str(error)) from error
    if added is not None:
        if added.name != name:
            raise ConfigError(
                f"importers plugin '{name}' of {_PLUGINS.origin(name)}: its spec is named '{added.name}'."
            )
        return added
    if name == own.NAME:
        raise ConfigError("format 'own' is a function that was given to one call; call `thumbline.prepare` again.")
    if name not in IMPORTERS:
        raise ConfigError(unknown_name("format", name, ["auto", *importer_names()]))
    return IMPORTERS[name]


def importer_names() -> list[str]:
    """Names of all formats in the order of detection: other packages' come first, since they are installed on purpose.

    Nothing of theirs is loaded.
    """
    return list(dict.fromkeys((*_PLUGINS.names(), *IMPORTERS)))


def origins(format_name: str) -> dict[str, str]:
    """Packages and versions that reading with `format_name` depends on: where it is detected all that add formats."""
    return plugins.origins(_GROUP, None if format_name in DETECTED else [format_name])


def detect_format(path: Path, options: Options | None = None) -> str:
    """The name of the importer that reads the file at `path`.

    Raises:
        InputError: The file is missing, has no readable row, or has fields that no format knows.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file.")
    return format_of(take_sample(FileSource(path, str(path), _SAMPLE_LINE_BYTES)), options or {})


def format_of(sample: Sample, options: Options) -> str:
    """The name of the first importer that knows the sample.

    Raises:
        InputError: None does.
    """
    for name in importer_names():
        if importer(name).detect(sample, options):
            return name
    known = ", ".join(importer_names())
    if not sample.records:
        raise InputError(f"{sample.name}: no readable row to tell its format by. Known formats: {known}.")
    if sample.fields and _EXAMPLES.issuperset(sample.fields):
        raise InputError(
            f"{sample.name}: the fields {', '.join(sample.fields)} are those of examples without a vote. The tool "
            "that wrote the file may have an export with votes: AnythingLLM's CSV and JSON, Open WebUI's chats."
        )
    raise InputError(
        f"{sample.name}: no format fits the fields {examples(sample.fields, 20)}. Known formats: {known}. "
        "For a log of your own `thumbline init FILE` tells the columns by their values; or set events.format to "
        "thumbs_jsonl and map its columns in events.options; "
        "of two answers in a row state the columns as prompt, first, second and preference."
    )


def describe() -> list[dict[str, str]]:
    """One row a format: name, description, options; where other packages add some, with the package of each.

    Data sets of the hub have a row too. A package that is broken takes its own row only, which says why.
    """
    hub = {"format": "hub:ID", "reads": HUB, "options": ", ".join(HUB_OPTIONS)}
    rows = [hub, *(_described(spec) for spec in IMPORTERS.values())]
    if not _PLUGINS.names():
        return rows
    for name in _PLUGINS.names():
        try:
            rows.append(_described(importer(name)))
        except ConfigError as error:
            rows.append({"format": name, "reads": str(error), "options": ""})
    origin = [*(["thumbline"] * (1 + len(IMPORTERS))), *map(_PLUGINS.origin, _PLUGINS.names())]
    return [row | {"from": package} for row, package in zip(rows, origin, strict=True)]


def _described(spec: ImporterSpec) -> dict[str, str]:
    return {"format": spec.name, "reads": spec.description, "options": ", ".join(spec.options)}

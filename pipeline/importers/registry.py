"""Every log format, and how a source's format is found."""

from pathlib import Path
from typing import Final

from ..errors import InputError, examples
from ..reading.files import FileSource, take_sample
from ..reading.records import Options, Sample
from . import (
    argilla,
    chainlit,
    chat_ui,
    chatgpt,
    convai2,
    dify,
    fastchat,
    finegrained_rlhf,
    gpt4all,
    gradio,
    helicone,
    helpsteer,
    hh_rlhf,
    hub,
    label_studio,
    langfuse,
    langsmith,
    librechat,
    librechat_messages,
    llmfao,
    mlflow,
    open_assistant,
    open_webui,
    opik,
    otel,
    phoenix,
    posthog,
    thumbs_jsonl,
    trl,
    weave,
)
from .base import ImporterSpec

# Detection asks in this order: a format with more particular fields comes before one with common names.
IMPORTERS: Final[dict[str, ImporterSpec]] = {
    hub.NAME: hub.SPEC,
    convai2.NAME: convai2.SPEC,
    open_webui.NAME: open_webui.SPEC,
    librechat.NAME: librechat.SPEC,
    librechat_messages.NAME: librechat_messages.SPEC,
    chat_ui.NAME: chat_ui.SPEC,
    gpt4all.NAME: gpt4all.SPEC,
    gradio.NAME: gradio.SPEC,
    fastchat.NAME: fastchat.SPEC,
    open_assistant.NAME: open_assistant.SPEC,
    finegrained_rlhf.NAME: finegrained_rlhf.SPEC,
    llmfao.NAME: llmfao.SPEC,
    label_studio.NAME: label_studio.SPEC,
    argilla.NAME: argilla.SPEC,
    helpsteer.NAME: helpsteer.SPEC,
    hh_rlhf.NAME: hh_rlhf.SPEC,
    trl.NAME: trl.SPEC,
    langfuse.NAME: langfuse.SPEC,
    langsmith.NAME: langsmith.SPEC,
    chatgpt.NAME: chatgpt.SPEC,
    chainlit.NAME: chainlit.SPEC,
    dify.NAME: dify.SPEC,
    phoenix.NAME: phoenix.SPEC,
    otel.NAME: otel.SPEC,
    weave.NAME: weave.SPEC,
    helicone.NAME: helicone.SPEC,
    posthog.NAME: posthog.SPEC,
    mlflow.NAME: mlflow.SPEC,
    opik.NAME: opik.SPEC,
    thumbs_jsonl.NAME: thumbs_jsonl.SPEC,
}
_SAMPLE_LINE_BYTES: Final = 16 * 1024 * 1024


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
    for name, spec in IMPORTERS.items():
        if spec.detect(sample, options):
            return name
    known = ", ".join(IMPORTERS)
    if not sample.records:
        raise InputError(f"{sample.name}: no readable row to tell its format by. Known formats: {known}.")
    raise InputError(
        f"{sample.name}: no format fits the fields {examples(sample.fields, 20)}. Known formats: {known}. "
        f"For a log of your own set events.format to thumbs_jsonl and map its columns in events.options."
    )


def describe() -> list[tuple[str, str, str]]:
    """One row a format: name, description, and its options."""
    return [(spec.name, spec.description, ", ".join(spec.options)) for spec in IMPORTERS.values()]

"""Options that several commands share, alone and in groups: a parameter that is a dataclass is an option a field."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

OutputOption = Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")]
PlaceOption = Annotated[
    str, typer.Option("--output", "-o", help="Folder to write to, or an address (s3://bucket/name).")
]
RunArgument = Annotated[str, typer.Argument(help="Folder or address of a run, or its YAML file.", metavar="RUN")]
ModelOption = Annotated[
    str, typer.Option("--model", "-m", help="Hub id, local folder, or `demo` for the embedded SmolLM2-135M-Instruct.")
]


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with its options in a row, as typer reads them: a parameter that is a dataclass gives its fields."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            parameters += _parameters_of(groups[name])
        else:
            parameters.append(_parameter(name, hints[name], parameter.default))

    @functools.wraps(command)
    def with_groups(**given: Any) -> None:
        made = {name: group(**{f.name: given.pop(f.name) for f in fields(group)}) for name, group in groups.items()}
        command(**given, **made)

    with_groups.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_groups.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_groups


def _parameters_of(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        _parameter(f.name, hints[f.name], inspect.Parameter.empty if f.default is MISSING else f.default)
        for f in fields(group)
    ]


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


@dataclass(frozen=True)
class ScoringArguments:
    """How texts are tokenised and scored."""

    engine: Annotated[str, typer.Option(help="auto, vllm or hf.")] = "auto"
    dtype: Annotated[str, typer.Option(help="bfloat16, float32 or float16.")] = "bfloat16"
    quantization: Annotated[
        str | None, typer.Option(help="Of the weights: nf4 (--engine hf), or a method of vLLM's.")
    ] = None
    template: Annotated[str, typer.Option(help="chat or plain.")] = "chat"
    system: Annotated[
        str, typer.Option(help="template, or first_user: system texts before the user's (Gemma takes no system turn).")
    ] = "template"
    max_tokens: Annotated[int, typer.Option(help="Tokens of prompt and completion together.")] = 1024

    def sections(self) -> dict[str, dict[str, Any]]:
        """The same as sections of a run file."""
        engine = {"engine": self.engine, "dtype": self.dtype}
        if self.quantization is not None:
            engine["quantization"] = self.quantization
        text = {"template": self.template, "max_tokens": self.max_tokens}
        if self.system != "template":
            text["system"] = self.system
        return {"reference": engine, "sequences": text}

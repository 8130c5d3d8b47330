"""A user's own Python function as a judge: `package.module:function`, or `FILE.py:function` beside the run file.

It takes the answer's text as `completion`, the messages before it as `prompt`, JSON of the tools as `tools`: as many of
the three as it names. It gives a number (higher is better), True or False, or None where it cannot tell.
"""

import inspect
import math
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from numbers import Real
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Final

import numpy as np

from ..config.base import StageConfig
from ..context import Advance
from ..errors import ConfigError, PipelineError, unknown_name
from ..storage.digests import digest_file, digest_text
from .base import Answer, Judgement, JudgeSpec, Surroundings

JudgeFunction = Callable[..., Any]
_GIVEN: Final = ("prompt", "completion", "tools")
_FILE: Final = ".py"
_DEFERRED: Final[Mapping[str, Callable[[Any], bool]]] = {
    "an async function": inspect.iscoroutinefunction,
    "an async generator": inspect.isasyncgenfunction,
    "a generator, since it has a `yield`": inspect.isgeneratorfunction,
}
# Functions are quick or slow; the bar should move in both cases.
_TOLD_EVERY: Final = 64


class NoOptions(StageConfig):
    """A judge without settings."""


def is_path(name: str) -> bool:
    """Whether a judge's name says where a function is."""
    return ":" in name


def spec_of_path(name: str) -> JudgeSpec:
    """The judge that `package.module:function` or `FILE.py:function` means.

    Raises:
        ConfigError: The module or file does not load, has no such function, or the function takes other arguments.
    """
    place, _, attribute = name.rpartition(":")
    module = _load_file(Path(place), name) if place.endswith(_FILE) else _load_module(place, name)
    functions = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
    if not hasattr(module, attribute):
        raise ConfigError(f"judges: '{name}': {unknown_name('function', attribute, functions)}")
    return spec_of_function(getattr(module, attribute), name, _source(module))


def spec_of_function(function: Any, name: str, source: Path | None) -> JudgeSpec:
    """A function as a judge.

    Args:
        function: Takes some of `prompt`, `completion` and `tools`.
        name: What it is called in errors.
        source: The file that it is written in, whose content its judgements depend on; None where it has none.

    Raises:
        ConfigError: It cannot be called, or takes other arguments.
    """
    taken = _arguments(function, name)

    def opened(options: NoOptions, surroundings: Surroundings) -> FunctionJudge:
        del options
        return FunctionJudge(function, taken, surroundings.name)

    def depends(options: NoOptions) -> Mapping[str, str]:
        del options
        return {} if source is None else {"source": digest_file(source)}

    text = (inspect.getdoc(function) or "").strip().splitlines()
    return JudgeSpec(text[0] if text else "A function.", False, NoOptions, opened, depends)


def _arguments(function: Any, name: str) -> tuple[str, ...]:
    """Which of `prompt`, `completion` and `tools` it is called with."""
    if not callable(function):
        raise ConfigError(f"judges: '{name}' is a {type(function).__name__}, not a function.")
    _refuse_deferred(function, name)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (ValueError, TypeError) as error:
        raise ConfigError(f"judges: '{name}': what it takes cannot be told: {error}") from error
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return _GIVEN
    named = [one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    known = tuple(one.name for one in named if one.name in _GIVEN)
    needed = [one.name for one in parameters if one.default is one.empty and one.kind is not one.VAR_POSITIONAL]
    others = [one for one in needed if one not in known]
    if others or not known:
        raise ConfigError(
            f"judges: '{name}' takes {', '.join(others) or 'nothing'}; a judge is given `prompt` (messages), "
            f"`completion` (text) and `tools` (JSON or None) by these names, as many as it takes."
        )
    return known


def _refuse_deferred(function: Any, name: str) -> None:
    """Refuse what gives no number when it is called, but something that would have to be awaited or gone through."""
    called = [function, type(function).__call__]
    for kind, is_kind in _DEFERRED.items():
        if any(map(is_kind, called)):
            raise ConfigError(
                f"judges: '{name}' is {kind}; a judge is an ordinary function, `def`, that returns a number, True, "
                f"False or None."
            )


def _load_module(place: str, name: str) -> ModuleType:
    try:
        return import_module(place)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"judges: '{name}': no module '{error.name}' is installed. Install its package, or write the file's "
            f"path from the run file: path/to/file.py:function."
        ) from error
    except (Exception, SystemExit) as error:  # importing somebody else's module may raise anything
        raise ConfigError(f"judges: '{name}' does not load ({_told(error)}).") from error


class _AsItIs(SourceFileLoader):
    """Loads a file as it is now: kept byte code may be of another one of the same size and second of change."""

    def get_code(self, fullname: str) -> CodeType:
        """The source compiled; no byte code is read or written."""
        return self.source_to_code(self.get_data(self.path), self.path)


def _load_file(path: Path, name: str) -> ModuleType:
    """A file as a module of its own, once; it need not be on Python's path."""
    if not path.is_file():
        raise ConfigError(f"judges: '{name}': there is no file {path}; the path is read from the run file's folder.")
    module_name = f"thumbline_judge_{path.stem}_{digest_text(str(path.resolve()), digest_file(path))}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    spec = spec_from_file_location(module_name, path, loader=_AsItIs(module_name, str(path)))
    if spec is None or spec.loader is None:
        raise ConfigError(f"judges: '{name}': {path} is no Python file.")
    module = module_from_spec(spec)
    # Before it is run, as an import does: dataclasses look their module up.
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # somebody else's file may raise anything, or end as a script does
        del sys.modules[module_name]
        raise ConfigError(f"judges: '{name}' does not load ({_told(error)}).") from error
    return module


def _source(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file) if file and Path(file).is_file() else None


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


class FunctionJudge:
    """A function that is called once an answer; what it raises costs that answer its score."""

    def __init__(self, function: JudgeFunction, taken: Sequence[str], name: str) -> None:
        """Take the function and the names of its arguments."""
        self._function, self._taken, self._name = function, tuple(taken), name
        self._seen = 0
        self._missing: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def judge(self, answers: Sequence[Answer], advance: Advance) -> list[Judgement]:
        """The function's value of each answer.

        Raises:
            PipelineError: It raised for every answer so far.
        """
        made = []
        for number, answer in enumerate(answers, start=1):
            made.append(self._one(answer))
            if number % _TOLD_EVERY == 0:
                advance(_TOLD_EVERY)
        advance(len(answers) % _TOLD_EVERY)
        if self._seen and self._missing["raised"] == self._seen:
            raise PipelineError(
                f"judgements: {self._name} raised for each of {self._seen:,} answers "
                f"(first: {self._examples['raised']}). Mend the function and run again."
            )
        return made

    def _one(self, answer: Answer) -> Judgement:
        self._seen += 1
        # Its own lists: a function that changes its arguments changes no one else's.
        prompt = [dict(message) for message in answer.prompt]
        given = {"prompt": prompt, "completion": answer.completion, "tools": answer.tools}
        try:
            value = self._function(**{name: given[name] for name in self._taken})
        except (Exception, SystemExit) as error:  # noqa: BLE001  somebody else's function may raise anything
            return self._none("raised", f"{answer.generation_id}: {_told(error)}")
        if value is None:
            return self._none("no_opinion", answer.generation_id)
        if not isinstance(value, Real | bool | np.bool_):
            return self._none("no_number", f"{answer.generation_id}: a {type(value).__name__}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        return Judgement(number) if math.isfinite(number) else self._none("not_finite", answer.generation_id)

    def _none(self, reason: str, example: str) -> Judgement:
        self._missing[reason] += 1
        self._examples.setdefault(reason, " ".join(example.split())[:300])
        return Judgement(None, reason)

    def facts(self) -> Mapping[str, Any]:
        """An example of each reason for which there was no score."""
        words = {"raised": "raised an error", "no_number": "gave no number", "not_finite": "gave no finite number"}
        said = [
            f"{self._name} {words[reason]} for {count:,} of {self._seen:,} answers (first: {self._examples[reason]})."
            for reason, count in sorted(self._missing.items())
            if reason in words
        ]
        return {"examples": dict(self._examples), "said": said}

    def close(self) -> None:
        """Nothing is held."""

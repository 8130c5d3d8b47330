"""Bounds on what a chat template may do: it is a program of its model's makers, and may loop or explode.

Sizes that one operation of a template asks for are refused before anything is made, and what is left to grow step by
step is stopped by time and memory.
"""

import ctypes
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from pathlib import Path
from typing import Any, Final

from ..errors import InputError

# One conversation takes a template well below a millisecond; of a long one with many tools some milliseconds.
SECONDS: Final = 20.0
# How much more memory the process may hold while one conversation is written.
BYTES: Final = 2 << 30
# Characters, elements or bits that one operation may make: more than any model reads.
LARGEST: Final = 1 << 26
_LOOK_SECONDS: Final = 0.05
# A conversation that is written sooner than this is not looked at.
_PATIENCE_SECONDS: Final = 0.25
# Filters that make a text or a list as long as a number says.
_WIDENING: Final = ("center", "indent", "batch", "format")
_WIDTH: Final = re.compile(r"[%{][^{}%]{0,20}?(\d{8,30})")
_GIVEN_WIDTH: Final = re.compile(r"\*|\{[^{}]*\{")


class TemplateLimitError(InputError):
    """A chat template that was stopped: it took too long, or too much memory."""


class _Stopped(BaseException):
    """What a template is stopped with; no `except Exception` on its way keeps it."""


class _Watch:
    """One thread's rendering, looked at by another thread until it ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: float | None = None
        self._thread = 0
        self._memory = 0
        self.why = ""
        self._wake = threading.Event()
        threading.Thread(target=self._look, name="template-bounds", daemon=True).start()

    def begin(self) -> None:
        with self._lock:
            self.why, self._memory, self._thread = "", 0, threading.get_ident()
            self._since = time.monotonic()
        self._wake.set()

    def end(self) -> None:
        with self._lock:
            self._since = None
            if self.why:
                # It may have come after the last step: nothing else is to be stopped by it.
                _raise_in(self._thread, None)

    def _look(self) -> None:
        while True:
            self._wake.wait()
            time.sleep(_LOOK_SECONDS)
            with self._lock:
                if self._since is None:
                    self._wake.clear()
                elif not self.why:
                    self.why = self._too_much(time.monotonic() - self._since)
                    if self.why:
                        _raise_in(self._thread, _Stopped)

    def _too_much(self, seconds: float) -> str:
        if seconds < _PATIENCE_SECONDS:
            return ""
        self._memory = self._memory or _held_bytes()
        if seconds > SECONDS:
            return f"took more than {SECONDS:g} seconds to write one conversation"
        if _held_bytes() - self._memory > BYTES:
            return f"took more than {BYTES >> 30} GiB of memory to write one conversation"
        return ""


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), None if error is None else ctypes.py_object(error)
    )


def _held_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGESIZE")


_watches = threading.local()


@contextmanager
def bounded(name: str) -> Iterator[None]:
    """Stop the template that is rendered inside once it takes too long, or too much memory.

    Args:
        name: Whose template it is, for the message.

    Raises:
        TemplateLimitError: It was stopped.
    """
    _bound_operations()
    watch: _Watch | None = getattr(_watches, "own", None)
    if watch is None:
        watch = _watches.own = _Watch()
    watch.begin()
    try:
        yield
    except _Stopped:
        pass
    finally:
        _end(watch)
    if watch.why:
        raise TemplateLimitError(
            f"the chat template of {name} {watch.why}, and was stopped: does a loop in it not end, or a text double? "
            f"Give the tokenizer another template, or set sequences.template to 'plain'."
        )


def _end(watch: _Watch) -> None:
    try:
        watch.end()
    except _Stopped:
        # It came when all was written.
        watch.end()


@cache
def _bound_operations() -> None:
    """Let transformers compile templates in a sandbox that refuses sizes as well."""
    from transformers.utils import chat_template_utils

    chat_template_utils._compile_jinja_template.cache_clear()
    chat_template_utils.ImmutableSandboxedEnvironment = _sandbox()


@cache
def _sandbox() -> Any:
    """Jinja's sandbox, in which no single operation makes more than `LARGEST` characters, elements or bits."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Sandbox(ImmutableSandboxedEnvironment):
        """See `_sandbox`."""

        intercepted_binops = frozenset({"*", "**", "+", "%"})

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.filters |= {name: _guarded(self.filters[name], name) for name in _WIDENING}

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            _refuse(f"'{operator}'", _made_by(operator, left, right))
            return super().call_binop(context, operator, left, right)

        def call(self, context: Any, called: Any, /, *args: Any, **options: Any) -> Any:
            if isinstance(getattr(called, "__self__", None), str):
                _refuse(called.__name__, _largest((*args, *options.values())))
            return super().call(context, called, *args, **options)

        def wrap_str_format(self, value: Any) -> Any:
            wrapped = super().wrap_str_format(value)
            return wrapped and _guarded(wrapped, "format", value.__self__)

    return Sandbox


def _refuse(what: str, size: float) -> None:
    from jinja2.exceptions import SecurityError

    if size > LARGEST:
        raise SecurityError(f"{what} would make more than {LARGEST:,} characters, elements or bits")


def _guarded(call: Any, name: str, text: str | None = None) -> Any:
    """A filter or a method that makes what its arguments say; of a format, `text` or its first argument says it."""

    # Jinja's marks, such as that a filter takes the environment, go along.
    @wraps(call)
    def guarded(*args: Any, **options: Any) -> Any:
        given = (*args, *options.values())
        form = text or (args[0] if args and isinstance(args[0], str) else "")
        _refuse(name, _of_format(form, given) if name == "format" else _largest(given))
        return call(*args, **options)

    return guarded


def _made_by(operator: str, left: Any, right: Any) -> float:
    """About how many characters, elements or bits an operation makes."""
    if operator == "%":
        return _of_format(left, right if isinstance(right, tuple) else (right,)) if isinstance(left, str) else 0
    if operator == "+":
        return _length(left) + _length(right)
    if isinstance(left, int) and isinstance(right, int):
        return left.bit_length() * abs(right) if operator == "**" else left.bit_length() + right.bit_length()
    times = next((value for value in (left, right) if isinstance(value, int)), 0)
    return max(_length(left), _length(right)) * times


def _of_format(text: str, given: Iterable[Any]) -> float:
    """The largest width that a format asks for: in its fields, or by a number that it is given."""
    stated = max((float(digits) for digits in _WIDTH.findall(text)), default=0.0)
    return max(stated, _largest(given)) if _GIVEN_WIDTH.search(text) else stated


def _largest(given: Iterable[Any]) -> float:
    return max((value for value in given if isinstance(value, int)), default=0)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str | list | tuple) else 0

"""Every error that a user can cause, each also a standard type; the CLI prints them without a traceback."""

import difflib
from collections.abc import Iterable, Mapping


class PipelineError(Exception):
    """A mistake or a limit that the message explains: what, where, how many, and what to do next."""


class ConfigError(PipelineError, ValueError):
    """A run file, an option or an override that does not hold."""


class InputError(PipelineError, ValueError):
    """A log, table or model given by the user that cannot be used as it is."""


class TableError(PipelineError, ValueError):
    """A table that breaks its schema, or counts that do not add up."""


class MissingDependencyError(PipelineError, ImportError):
    """An optional library that the chosen part needs and that is not installed."""


class EngineError(PipelineError, RuntimeError):
    """A scoring engine that could not start, or answered with missing or wrong counts."""


class ParityError(PipelineError, RuntimeError):
    """Stored reference log-probs that the training engine does not reproduce."""


class TrainingError(PipelineError, RuntimeError):
    """Training that cannot go on: no rows, or a loss that is not finite."""


class BusyError(PipelineError, RuntimeError):
    """A folder in which another process is at work."""


class MachineError(PipelineError, RuntimeError):
    """A machine that cannot go on: its disk is full or fails, or its memory does not do."""


class GateError(PipelineError, RuntimeError):
    """An evaluation that does not meet a condition that was set for it."""


# What the user asked for cannot be done as asked: such an error ends the command with 2, any other with 1.
MISUSE = (ConfigError, InputError, MissingDependencyError)


def examples(values: Iterable[object], limit: int = 3) -> str:
    """The first `limit` values, comma separated, for the end of an error message."""
    shown = [str(value) for _, value in zip(range(limit), values, strict=False)]
    return ", ".join(shown)


def unknown_name(kind: str, name: str, known: Iterable[str], meant: Mapping[str, str] | None = None) -> str:
    """A message for a name that is not registered: the nearest match and all that are.

    Args:
        kind: What it is a name of.
        name: The name.
        known: All that are registered.
        meant: Other words to the registered name of the same thing, which may be spelled nothing like them.
    """
    names = sorted(known)
    folded = {one.casefold(): one for one in names}
    same = {word: one for word, one in (meant or {}).items() if one in names}
    nearest = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    guess = same.get(name) or (folded[nearest[0]] if nearest else "")
    hint = f" Did you mean '{guess}'?" if guess else ""
    return f"unknown {kind} '{name}'.{hint} Known: {', '.join(names)}."

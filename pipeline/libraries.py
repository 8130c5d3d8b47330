"""Libraries of extras, where the pipeline takes them: one that is missing is told with the line that installs it."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from thumbline.extras import EXTRAS, MissingExtraError, is_installed, missing_words

from .errors import MissingDependencyError


def library(module: str, asked_by: str, name: str | None = None) -> Any:
    """A library of an extra, or one of its modules, imported.

    Args:
        module: As it is imported.
        asked_by: What needs it, as a user knows it.
        name: Its name in `thumbline.extras.EXTRAS`, where that is not the first part of `module`.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingDependencyError(missing_words(name or module.partition(".")[0], asked_by)) from error


def check_libraries(asked_by: str, *names: str) -> None:
    """See that libraries are there before work begins, without importing them.

    Args:
        asked_by: What needs them, as a user knows it.
        names: As they are imported, each one of `thumbline.extras.EXTRAS`.

    Raises:
        MissingDependencyError: One of them is not installed.
    """
    for name in names:
        if not is_installed(name):
            raise MissingDependencyError(missing_words(name, asked_by))


@contextmanager
def libraries_told(asked_by: str) -> Iterator[None]:
    """Tell a library that turns out to be missing; an import that fails for another reason is raised as it is.

    Args:
        asked_by: What runs inside, as a user knows it.

    Raises:
        MissingDependencyError: A library of an extra is not installed.
    """
    try:
        yield
    except MissingDependencyError:
        raise
    except MissingExtraError as error:
        raise MissingDependencyError(str(error)) from error
    except ModuleNotFoundError as error:
        name = str(error.name).partition(".")[0]
        if name not in EXTRAS:
            raise
        raise MissingDependencyError(missing_words(name, asked_by)) from error

"""What the command makes of a call: done, or refused in words; whatever it would call a fault of its own is raised."""

from collections.abc import Callable

import polars as pl

from tests.fuzz.cases import Outcome
from thumbline.pipeline.errors import PipelineError
from thumbline.pipeline.troubles import explained


def refused(call: Callable[[], object]) -> str | None:
    """The one message in which a call is refused; None where it is done.

    Raises:
        Exception: What the command would tell as a fault of the program.
    """
    try:
        call()
    except PipelineError as error:
        told = error
    except (Exception, pl.exceptions.PanicException) as error:
        found = explained(error)
        if found is None:
            raise
        told = found
    else:
        return None
    assert str(told).strip(), "an error without a word"
    return str(told)


def outcome_of(call: Callable[[], object]) -> Outcome:
    """Whether a call was refused in words."""
    return "read" if refused(call) is None else "refused"

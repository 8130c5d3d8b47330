"""Files of models, tokenizers and adapters as transformers and peft read them: whatever these raise is one message.

A config.json with a number for a name, or a tokenizer.json of another version, is met by whichever line of theirs
reads it first, as an error of any class.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from ..errors import InputError, PipelineError
from ..troubles import explained

# Characters of a library's error that are shown: some name every tensor.
_MAX_REASON: Final = 300


@contextmanager
def loading(what: str, refusal: type[PipelineError]) -> Iterator[None]:
    """What a library raises inside, of files that it cannot make sense of, is raised as one message.

    Args:
        what: Which files, and what cannot be made of them.
        refusal: The class of the error.

    Raises:
        PipelineError: Of that class; of another where the machine is at fault.
    """
    try:
        yield
    except (PipelineError, ImportError):
        raise
    except Exception as error:  # what a damaged folder raises in transformers or peft shares no type
        # An error of the system that a library has put in its own words says more in these.
        told = None if type(error) in (OSError, ValueError) else explained(error)
        reason = " ".join(str(error).split())[:_MAX_REASON] or type(error).__name__
        raise told or refusal(f"{what}: {reason}") from error


def json_settings(path: Path) -> dict[str, Any]:
    """A JSON file of settings that lies in a model's folder.

    Raises:
        InputError: It is no JSON object.
    """
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: no JSON, so the model's settings cannot be read; is it whole?") from error
    if not isinstance(settings, dict):
        raise InputError(f"{path}: no JSON object, so the model's settings cannot be read.")
    return settings

"""The process that owns a vLLM engine: token ids in, log-probs or answers out, over a pipe."""

import os
import textwrap
from multiprocessing import util
from multiprocessing.connection import Connection
from typing import Any, Final

from ...workers import end_with_parent
from .generating import open_sampling
from .messages import Answer, Settings, Work
from .routes import OPENERS as SCORING
from .routes import unknown_arguments

OPENERS: Final = {**SCORING, "sampling": open_sampling}
_MESSAGE_CHARACTERS: Final = 240
# After multiprocessing's own clean-up, whose finalizers have priority 0 and above.
_LAST: Final = -100


def serve(connection: Connection, settings: Settings) -> None:
    """Load the model, then answer requests until the pipe or the parent ends."""
    _prepare(settings)
    end_with_parent()
    try:
        if unknown := unknown_arguments(settings.config.engine_args):
            connection.send(Answer([], unknown, is_setting=True))
            return
        work = OPENERS[settings.route](settings)
    except Exception as error:  # noqa: BLE001  whatever vLLM raises has to reach the parent as one line
        connection.send(Answer([], _one_line(error)))
        return
    connection.send(Answer([]))
    while True:
        try:
            given = connection.recv()
        except (EOFError, KeyboardInterrupt):
            if settings.config.tensor_parallel_size == 1:
                # Taking vLLM down piece by piece takes seconds and frees nothing that ending does not.
                util.Finalize(None, os._exit, args=(0,), exitpriority=_LAST)
            return
        connection.send(_answer(work, given))


def _answer(work: Work, given: list[Any]) -> Answer:
    try:
        return Answer(work(given))
    except Exception as error:  # noqa: BLE001  as above
        return Answer([], _one_line(error))


def _one_line(error: Exception) -> str:
    """The error's last line that says something."""
    lines = [line.strip() for line in str(error).splitlines()]
    telling = [line for line in lines if line and not line.startswith("For further information")]
    text = telling[-1].split(" [type=")[0] if telling else ""
    return f"{type(error).__name__}: {textwrap.shorten(text, _MESSAGE_CHARACTERS, placeholder=' ...')}"


def _prepare(settings: Settings) -> None:
    """Environment and silence, before vLLM is imported; what the user has set stays."""
    ranks = settings.config.tensor_parallel_size
    cores = sorted(os.sched_getaffinity(0))
    defaults = {
        "OMP_NUM_THREADS": str(max(1, len(cores) // ranks)),
        "VLLM_CPU_KVCACHE_SPACE": str(settings.config.cpu_kv_cache_gib),
        # Nothing else computes while this process does: it needs no core kept free.
        "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
        # The scheduler in this process sees all requests of a call before it starts: the same call, the same steps.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    if 1 < ranks <= len(cores):
        # Read on a CPU only, where vLLM would otherwise want a memory node a rank.
        share = len(cores) // ranks
        groups = [cores[rank * share : (rank + 1) * share] for rank in range(ranks)]
        defaults["VLLM_CPU_OMP_THREADS_BIND"] = "|".join(",".join(map(str, group)) for group in groups)
    if settings.route == "native":
        # Only vLLM's second model runner knows the parameter.
        defaults["VLLM_USE_V2_MODEL_RUNNER"] = "1"
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    log = os.open(settings.log, os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)

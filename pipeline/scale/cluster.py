"""A Ray cluster for the time of a command: one that runs, or one of this machine's own that begins and ends with it."""

import logging
import os
import secrets
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from importlib import import_module
from math import ceil
from pathlib import Path
from typing import Any, Final, NamedTuple

from ..config import ScaleConfig
from ..errors import ConfigError, PipelineError
from ..libraries import library
from ..workers import available_cores
from .guardian import Guardian

ASKED_BY: Final = "scale.runner: ray (--on ray)"
# What passes between processes are names of files and shards of token ids.
_OBJECT_STORE_BYTES: Final = 256 << 20
# Sockets lie in the cluster's folder, and their paths end at 107 characters, of which Ray's own part takes about 70.
_LONGEST_FOLDER: Final = 36
# On a machine that does much else at the time, a server may take longer than the half minute that Ray waits for it.
_STARTS: Final = 3
# Settings of memory that this process has (`cli.launch`) and workers should have as well.
_PASSED_ON: Final = ("_RJEM_MALLOC_CONF",)
# How Ray prints what its servers report.
_PRINTER: Final = "print_to_stdstream"
_JOINED_ADVICE: Final = (
    "Look at `ray status` there, and that both sides have the same versions of Python and Ray; without scale.address a "
    "cluster of this machine's own is taken."
)
_OWN: Final = "scale.runner: ray: a cluster of this machine's own"
_OWN_ADVICE: Final = (
    f"It was started {_STARTS} times. Where the machine does much else, each may take too long: try again when it does "
    "less, or do without a cluster: --on local."
)
_logger = logging.getLogger(__name__)


class Size(NamedTuple):
    """What a cluster has now.

    Attributes:
        cpus: Of all machines.
        gpus: Likewise.
        cpus_of_one: Of the machine that has fewest.
    """

    cpus: float
    gpus: float
    cpus_of_one: float


@contextmanager
def connected(config: ScaleConfig) -> Iterator[Any]:
    """The library `ray`, connected to the cluster that settings name; a program that is connected already stays so.

    Raises:
        MissingDependencyError: It is not installed.
        ConfigError: No cluster answers at the address, or one of another version.
    """
    with ExitStack() as stack:
        if config.address is None:
            # Read as Ray is imported: its servers listen on loopback alone, and tell nobody that they are used.
            stack.enter_context(_environment(_quiet()))
        ray = library("ray", ASKED_BY)
        stack.enter_context(_hushed())
        if not ray.is_initialized():
            stack.enter_context(_own(ray, config) if config.address is None else _joined(ray, config))
        yield ray


def size_of(ray: Any) -> Size:
    """What the cluster has now; one that grows with its work may get more."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus = [float(machine.get("CPU", 0.0)) for machine in machines]
    gpus = sum(float(machine.get("GPU", 0.0)) for machine in machines)
    return Size(sum(cpus), gpus, min((number for number in cpus if number > 0), default=1.0))


def local_cpus(config: ScaleConfig) -> int:
    """CPUs that a cluster of this machine's own says it has: all cores, or more where the settings ask for more."""
    tasks = (config.workers or 1) * config.cpus
    engines = (config.engines or 1) * (config.engine_cpus or 1)
    return max(available_cores(), ceil(tasks), ceil(engines))


@contextmanager
def _own(ray: Any, config: ScaleConfig) -> Iterator[None]:
    place = tempfile.gettempdir() if len(tempfile.gettempdir()) <= _LONGEST_FOLDER else "/tmp"
    folder = Path(tempfile.mkdtemp(prefix="tl-ray-", dir=place))
    guardian = Guardian(folder)
    try:
        with _signals_kept(), _in_words(_OWN, _OWN_ADVICE):
            _started(ray, config, folder)
        guardian.started()
        yield
    finally:
        guardian.ending()
        ray.shutdown()
        guardian.close()


def _started(ray: Any, config: ScaleConfig, folder: Path) -> None:
    for tries_left in reversed(range(_STARTS)):
        try:
            ray.init(
                address="local",
                num_cpus=local_cpus(config),
                object_store_memory=_OBJECT_STORE_BYTES,
                include_dashboard=False,
                configure_logging=False,
                logging_level="ERROR",
                log_to_driver=False,
                runtime_env=_runtime_env(config),
                # Ray lets everybody into its folder; nobody else gets into the one around it.
                _temp_dir=str(folder / "r"),
            )
            return
        except Exception as error:
            ray.shutdown()
            if not tries_left:
                raise
            _logger.info("Ray did not start, and is started again: %s", error)


@contextmanager
def _joined(ray: Any, config: ScaleConfig) -> Iterator[None]:
    try:
        with _signals_kept(), _in_words(f"scale.address: {config.address}", _JOINED_ADVICE):
            ray.init(
                address=config.address,
                configure_logging=False,
                logging_level="ERROR",
                log_to_driver=False,
                runtime_env=_runtime_env(config),
            )
        yield
    finally:
        ray.shutdown()


@contextmanager
def _in_words(where: str, advice: str) -> Iterator[None]:
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        # Ray raises errors of many kinds here; all say that there is no cluster.
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        raise ConfigError(f"{where}: Ray is not to be reached: {reason} {advice}") from error


def _runtime_env(config: ScaleConfig) -> dict[str, Any]:
    """The workers' environment: as many tasks as there are cores have polars on one thread each."""
    own = {"POLARS_MAX_THREADS": "1"} | {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**config.runtime_env, "env_vars": own | dict(config.runtime_env.get("env_vars", {}))}


@cache
def _token() -> str:
    """What the processes of this command's own clusters show each other; Ray reads it once in a process."""
    return secrets.token_hex(32)


def _quiet() -> dict[str, str]:
    """For a cluster of this machine's own: on loopback, with a token that lies in no file, and without a word."""
    return {
        # Ray's name for whether machines beside this one can take part; it is asked on any system.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": _token(),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_gcs_server_port_wait_time_s": "120",
        # A task without a GPU is not to hide those that a user's own variable shows.
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _hushed() -> Iterator[None]:
    """What Ray tells of a process that was killed goes to our log: it would print it among a command's own results."""
    module = import_module("ray._private.worker")
    before = getattr(module, _PRINTER, None)
    if before is None:
        # Another version does it in another way; it is told as that one does.
        yield
        return

    def told(data: Mapping[str, Any], **_: Any) -> None:
        _logger.info("ray: %s", " ".join(map(str, data.get("lines", ()))))

    setattr(module, _PRINTER, told)
    try:
        yield
    finally:
        setattr(module, _PRINTER, before)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """The command ends in order at SIGTERM as before: Ray puts a handler of its own in the place of others."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        # In another thread than the first Ray has set none, and none can be set.
        with suppress(ValueError):
            signal.signal(signal.SIGTERM, before)

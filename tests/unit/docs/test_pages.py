"""The pages of `pipeline/docs`: made ones are current, all are in the site, quoted messages are the code's."""

import ast
import re
from functools import cache

import pytest
import yaml

from tests.documents import MADE, PAGES
from thumbline.pipeline.config import build_config

ROOT = PAGES.parents[1]
SITE = yaml.safe_load((ROOT / ".github" / "mkdocs.yml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", MADE)
def test_pages_made_from_the_code_are_current(name):
    written = (PAGES / name).read_text(encoding="utf-8")
    assert written == MADE[name](), "python -m tests.documents writes it anew"


def test_every_page_is_in_the_site():
    assert (ROOT / ".github" / SITE["docs_dir"]).resolve() == PAGES
    parts = [pages for part in SITE["nav"] for pages in part.values()]
    listed = [page for pages in parts for page in ([pages] if isinstance(pages, str) else pages)]
    assert sorted(listed) == sorted(path.name for path in PAGES.glob("*.md"))


@cache
def texts_of_the_code():
    """Every text in the code, with `…` where a value is put in."""
    found = []
    for room in ("pipeline", "losses", "evaluators", ".package/thumbline"):
        for path in (ROOT / room).glob("*.py" if room.startswith(".") else "**/*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
                    found.append("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return "\n".join(found)


def quoted_messages():
    return re.findall(r"^### `(.*)`$", (PAGES / "troubleshooting.md").read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_many_messages_are_explained():
    assert len(quoted_messages()) > 15


@pytest.mark.parametrize("message", quoted_messages())
def test_quoted_messages_are_the_code_s(message):
    pieces = [piece.strip() for piece in message.split("…")]
    assert [piece for piece in pieces if len(piece) > 3 and piece not in texts_of_the_code()] == []
    assert max(map(len, pieces)) >= len("unknown_label")


@pytest.mark.parametrize("page", [path for path in PAGES.glob("*.md") if "```yaml" in path.read_text(encoding="utf-8")])
def test_run_files_on_the_pages_hold(page):
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
        document = {"name": "page"} | yaml.safe_load(block)
        assert build_config(document, origin=page.name).model


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("material")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    site = load_config(str(ROOT / ".github" / "mkdocs.yml"), site_dir=str(tmp_path / "site"), strict=True)
    build(site)
    assert (tmp_path / "site" / "settings.html").is_file()

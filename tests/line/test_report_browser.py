"""The report in a real browser: no console errors, no sideways scrolling on a phone, tables that sort."""

import os
import re
import shutil
import subprocess

import pytest

from tests import report_inputs as made
from thumbline.pipeline.report import render_report

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install Debian's package chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--log-level=0",
)
FITS = """
  const root = document.documentElement;
  parent.postMessage(`${innerWidth} ${root.scrollWidth - root.clientWidth}`, '*');
"""
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')


@pytest.fixture(scope="module", params=["dpo_run", "kto_run", "evaluate_only", "sliced_run", "compared_runs"])
def page(request):
    return render_report(getattr(made, request.param)())


def browse(folder, text, *, width=390):
    """The page's document after its scripts ran, and what the browser logged."""
    path = folder / "report.html"
    path.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [
            CHROMIUM,
            *FLAGS,
            f"--user-data-dir={folder / 'profile'}",
            f"--window-size={width},900",
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
        env=os.environ | {"HOME": str(folder)},
    )
    return done.stdout, done.stderr


def with_script(text, script):
    """The page with a script of the test at its end; the page's own policy would refuse to run it."""
    return POLICY.sub("", text).replace("</body>", f"<script>{script}</script></body>")


def test_no_console_message_and_no_foreign_script(page, tmp_path):
    document, log = browse(tmp_path, page)
    assert "CONSOLE" not in log, log
    assert "taken over" not in re.search(r"<title>(.*?)</title>", document).group(1)


def test_the_policy_refuses_another_script(page, tmp_path):
    planted = page.replace("</body>", "<script>document.title = 'taken over'</script></body>")
    document, log = browse(tmp_path, planted)
    assert "<title>taken over</title>" not in document
    assert "CONSOLE" in log


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_runs_off_the_side(page, tmp_path, width):
    # A frame has the asked width in every browser; a headless window may have a smallest one.
    probe = (
        f'<iframe src="inner.html" style="width:{width}px;height:900px;border:0"></iframe><script>'
        "addEventListener('message', (event) => { document.title = event.data; });</script>"
    )
    told = with_script(page, FITS)
    (tmp_path / "inner.html").write_text(told, encoding="utf-8")
    document, _ = browse(tmp_path, f"<!DOCTYPE html><title>none</title>{probe}", width=1600)
    assert re.search(r"<title>(.*?)</title>", document).group(1) == f"{width} 0"


def test_a_click_on_a_heading_sorts_numbers_and_a_second_one_turns_them_round(tmp_path):
    script = """
      const table = document.querySelector('#data table.sortable');
      const column = () => [...table.tBodies[0].rows].map((row) => row.cells[1].dataset.value).join(',');
      const button = table.querySelectorAll('thead button')[1];
      const seen = [];
      for (let click = 0; click < 2; click += 1) { button.click(); seen.push(column()); }
      document.title = seen.join(' / ');
    """
    document, log = browse(tmp_path, with_script(render_report(made.dpo_run()), script))
    up, down = re.search(r"<title>(.*?)</title>", document).group(1).split(" / ")
    numbers = [int(value) for value in up.split(",")]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) > 3
    assert [int(value) for value in down.split(",")] == sorted(numbers, reverse=True)
    assert "CONSOLE" not in log, log

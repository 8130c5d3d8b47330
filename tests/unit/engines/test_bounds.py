"""Chat templates that loop or explode are stopped; all others write what they wrote."""

import re
import threading
import time

import pytest

from tests.tiny import CHATML, tiny_tokenizer
from thumbline.pipeline.engines import bounds
from thumbline.pipeline.engines.refusals import REFUSED, Refusal
from thumbline.pipeline.engines.templates import Renderer
from thumbline.pipeline.errors import InputError

TURNS = [{"role": "user", "content": "hello"}]
ANSWER = {"role": "assistant", "content": "hi"}


def texts(template):
    return Renderer(tiny_tokenizer(template), "chat", {}).texts(TURNS, ANSWER)


@pytest.mark.parametrize(
    ("expression", "what"),
    [
        ("'x' * 3000000000", r"'\*' would make more than 67,108,864"),
        ("messages[0].content * 10**12", r"'\*' would make"),
        ("[1] * 10**10", r"'\*' would make"),
        ("10 ** 100000000", r"'\*\*' would make"),
        ("'x'.center(3000000000)", "center would make"),
        ("'x'.zfill(3000000000)", "zfill would make"),
        ("'x'|center(3000000000)", "center would make"),
        ("'%3000000000d' % 1", "'%' would make"),
        ("'%*d' % (3000000000, 1)", "'%' would make"),
        ("'{:>3000000000}'.format(1)", "format would make"),
        ("'{:>{}}'.format(1, 3000000000)", "format would make"),
        ("'%3000000000d'|format(1)", "format would make"),
        ("range(10**9)|list", "OverflowError"),
        ("1 / 0", "ZeroDivisionError"),
        ("messages[0].content + 1", "TypeError"),
    ],
)
def test_a_size_that_no_text_has_is_refused_before_it_is_made(expression, what):
    refusal = texts("{{ " + expression + " }}")
    assert isinstance(refusal, Refusal)
    assert refusal.reason == REFUSED
    assert re.search(what, refusal.detail)


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{{ i }}{% endfor %}{% endfor %}",
    ],
)
def test_a_template_that_does_not_end_is_stopped_with_one_message(template, monkeypatch):
    monkeypatch.setattr(bounds, "SECONDS", 0.5)
    began = time.monotonic()
    with pytest.raises(InputError, match=r"the chat template of .* took more than 0.5 seconds .* does a loop"):
        texts(template)
    assert time.monotonic() - began < 60
    # Nothing is left of it: the next one is written.
    assert texts(CHATML).completion == "hi<|im_end|>\n"


def test_a_text_that_doubles_is_stopped_by_its_memory(monkeypatch):
    monkeypatch.setattr(bounds, "BYTES", 64 << 20)
    monkeypatch.setattr(bounds, "_PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(bounds, "_LOOK_SECONDS", 0.001)
    doubles = "{% set ns = namespace(x='x' * 1000) %}{% for i in range(20) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"
    with pytest.raises(InputError, match=r"GiB of memory to write one conversation, and was stopped"):
        texts(doubles + "{% for i in range(99999) %}{% set ns.y = ns.x ~ i %}{% endfor %}")


def test_ordinary_numbers_are_written_as_they_are():
    found = texts(
        "{{ '%d' % 1700000000000 }}{{ '{}'.format(1700000000000) }}{{ 'ab' * 3 }}{{ 1700000000000 * 2 }}{{ 2 ** 9 }}"
    )
    assert found.full == "17000000000001700000000000ababab3400000000000512"


def test_what_is_raised_late_stops_nothing_else(monkeypatch):
    monkeypatch.setattr(bounds, "SECONDS", 0.0)
    monkeypatch.setattr(bounds, "_PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(bounds, "_LOOK_SECONDS", 0.0)
    stopped = 0
    for _ in range(200):
        try:
            with bounds.bounded("x"):
                time.sleep(0.0005)
        except InputError:
            stopped += 1
        time.sleep(0)
    assert stopped > 0


def test_each_thread_is_bounded_by_itself(monkeypatch):
    monkeypatch.setattr(bounds, "SECONDS", 0.3)
    said = []

    def loops():
        try:
            texts("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}")
        except InputError as error:
            said.append(str(error))

    threads = [threading.Thread(target=loops) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(said) == 2

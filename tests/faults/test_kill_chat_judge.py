"""A chat judge that is killed: what was answered is not asked for again."""

import subprocess
import sys
import textwrap
import threading
from collections import Counter

from tests.unit.judges.answers import answers_table
from tests.unit.judges.chat_server import said, serving
from thumbline.pipeline.config import JudgeConfig
from thumbline.pipeline.context import SilentReporter
from thumbline.pipeline.judges import Surroundings
from thumbline.pipeline.judges.asking import ask

SAID = {f"prompt {n}": {"untrained": [f"an answer {n}"], "trained": [f"another answer {n}"]} for n in range(5)}
CHILD = """
    import sys
    from tests.faults.test_kill_chat_judge import judged
    judged(sys.argv[1], sys.argv[2])
"""
ANSWERED = 6


def judged(address, replies):
    options = {"address": address, "model": "m", "concurrency": 1, "timeout_s": 60.0}
    around = Surroundings("chat", replies=replies)
    return ask(answers_table(SAID), [JudgeConfig(judge="chat", options=options)], lambda _: around, SilentReporter())


def test_what_was_answered_before_a_kill_is_asked_once(tmp_path):
    hanging = threading.Event()

    def answered(_, number):
        if number <= ANSWERED or hanging.is_set():
            return said("Verdict: A")
        hanging.set()
        return said("Verdict: A")._replace(seconds=60.0)

    with serving(answered) as server:
        command = [sys.executable, "-c", textwrap.dedent(CHILD), server.address, str(tmp_path)]
        child = subprocess.Popen(command)
        try:
            assert hanging.wait(120)
        finally:
            child.kill()
            child.wait()
        # Ten comparisons: six were answered, and the seventh was under way.
        assert len(server.bodies) == ANSWERED + 1
        made = judged(server.address, str(tmp_path))
        asked = Counter(body["messages"][0]["content"] for body in server.bodies)
    assert sorted(asked.values()) == [1] * 9 + [2]
    assert made.notes["judges"]["chat"]["asked"] == 10 - ANSWERED
    assert made.judged_pairs["reason"].null_count() == 10

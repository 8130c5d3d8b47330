import importlib
from collections import Counter

import polars as pl
import pytest

from tests.conftest import event, events_table
from thumbline.pipeline import libraries
from thumbline.pipeline.config import ResponsesConfig
from thumbline.pipeline.errors import MissingDependencyError
from thumbline.pipeline.stages import responses
from thumbline.pipeline.storage.manifests import Counts
from thumbline.pipeline.tables import validate

PLAIN = "Plant the beans in the middle of May, they like warm soil and a wall to climb on."
GERMAN = "Die Bohnen legt man Mitte Mai in die Erde, sie mögen es warm und klettern gern an einer Wand."
# Made up for this test, in the form of the real ones.
TOKEN = "ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8"
KEY = "-----BEGIN RSA PRIVATE KEY-----"


def made(completions, prompt="What now?", **config):
    rows = [event(prompt, text, "up") for text in completions]
    result = responses.transform(events_table(rows).lazy(), ResponsesConfig(**config))
    kept = validate("responses", result.responses.collect())
    drops = validate("response_drops", result.response_drops.collect())
    assert kept.height + drops.height == len(set(completions))
    return set(kept["completion"]), Counter(drops["reason"].cast(pl.String)), set(drops["detail"])


def test_nothing_is_dropped_unless_asked():
    texts = [PLAIN, GERMAN, f"It is {TOKEN}", "Write to ann@example.org", "x"]
    assert made(texts) == (set(texts), {}, set())


def test_lengths_are_bounded():
    texts = ["1234", "123456", "12345678"]
    assert made(texts, min_completion_chars=6)[:2] == ({"123456", "12345678"}, {"completion_length": 1})
    assert made(texts, max_completion_chars=6) == ({"1234", "123456"}, {"completion_length": 1}, {"8 characters"})
    assert made(texts, prompt="ab", min_prompt_chars=3)[1] == {"prompt_length": 3}
    assert made(texts, prompt="abcd", max_prompt_chars=3)[1:] == ({"prompt_length": 3}, {"4 characters"})
    assert made(texts, prompt="abc", min_prompt_chars=3, max_prompt_chars=3)[1] == {}


def test_other_languages_are_dropped_where_the_identifier_is_sure():
    pytest.importorskip("py3langid")
    texts = [PLAIN, GERMAN, "ok"]
    assert made(texts, languages=["en"]) == ({PLAIN, "ok"}, {"language": 1}, {"de"})
    assert made(texts, languages=["en", "de"])[1] == {}
    assert made(texts, languages=["en"], language_confidence=1.0)[0] == set(texts)
    assert made(texts, languages=["en"], language_confidence=0.0)[0] == {PLAIN}


def test_secrets_are_dropped_by_kind():
    pytest.importorskip("detect_secrets")
    kept, reasons, kinds = made([PLAIN, f"It is {TOKEN}", KEY], screen_secrets=True)
    assert (kept, reasons) == ({PLAIN}, {"secret": 2})
    assert kinds == {"GitHub Token", "Private Key"}
    assert made([PLAIN], prompt=f"Is {TOKEN} mine?", screen_secrets=True)[1] == {"secret": 1}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Write to ann.b+c@mail.example.org today", "e-mail address"),
        ("Call +44 20 7946 0958 after nine", "phone number"),
        ("The card is 4111 1111 1111 1111.", "card number"),
        ("Pay to GB82 WEST 1234 5698 7654 32 now", "bank account number"),
    ],
)
def test_personal_data_is_dropped_by_kind(text, kind):
    pytest.importorskip("phonenumbers")
    pytest.importorskip("stdnum")
    assert made([PLAIN, text], screen_personal_data=True) == ({PLAIN}, {"personal_data": 1}, {kind})


@pytest.mark.parametrize(
    "text",
    ["The card is 4111 1111 1111 1112.", "Version 1.2.3 of 2024-01-02, 3 + 4 = 7", "GB00 WEST 1234 5698 7654 32"],
)
def test_what_only_looks_like_personal_data_stays(text):
    pytest.importorskip("phonenumbers")
    pytest.importorskip("stdnum")
    assert made([text], screen_personal_data=True)[0] == {text}


def test_a_comparison_with_a_dropped_side_is_left_out():
    rows = [event("p", text, vote, comparison_id="1") for text, vote in (("long enough", "chosen"), ("no", "rejected"))]
    made_tables = responses.transform(events_table(rows).lazy(), ResponsesConfig(min_completion_chars=5))
    assert made_tables.responses.collect().height == 1
    assert made_tables.comparisons.collect().is_empty()


@pytest.mark.parametrize(
    ("knob", "library"),
    [
        ({"screen_secrets": True}, "detect_secrets"),
        ({"screen_personal_data": True}, "phonenumbers"),
        ({"languages": ["en"]}, "py3langid"),
    ],
)
def test_a_missing_library_is_named(monkeypatch, knob, library):
    real = importlib.import_module

    def missing(name, *rest):
        if name.startswith(library):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(libraries, "import_module", missing)
    message = rf"responses.{next(iter(knob))} needs {library}, which is not installed. Install with: pip install 'thumb"
    with pytest.raises(MissingDependencyError, match=message):
        made(["x"], **knob)


def test_events_of_dropped_responses_are_counted_as_rejected():
    rows = [event("p", "no", "up", user=f"u{number}") for number in range(3)] + [event("p", "long enough", "up")]
    tables = responses.transform(events_table(rows).lazy(), ResponsesConfig(min_completion_chars=5))
    drops = tables.response_drops.collect()
    kept = tables.responses.collect()
    rejected = int(drops["n_events"].sum())
    Counts(rows_in=4, rows_out=kept.height, merged=4 - kept.height - rejected, rejected=rejected).check("responses")
    assert (rejected, kept["n_events"].to_list()) == (3, [1])

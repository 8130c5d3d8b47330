"""What is shown of values that hold secrets."""

import time

import pytest

from thumbline.pipeline.hiding import (
    HIDDEN,
    as_told,
    is_secret_name,
    shown_argument,
    shown_command,
    with_named_secrets,
    without_secrets,
)

ADDRESSES = {
    "http://KEYID:TOPSECRET@127.0.0.1:18765/a.jsonl": f"http://{HIDDEN}@127.0.0.1:18765/a.jsonl",
    "s3://AKIA:TOP/SE+CR?ET@bucket/x": f"s3://{HIDDEN}@bucket/x",
    "https://TOPSECRET@host/x": f"https://{HIDDEN}@host/x",
    "https://host/a?X-Amz-Signature=TOPSECRET&versionId=3": f"https://host/a?X-Amz-Signature={HIDDEN}&versionId=3",
    "https://me:TOPSECRET@host/a?se=TOPSECRET#x=TOPSECRET": f"https://{HIDDEN}@host/a?se={HIDDEN}#x={HIDDEN}",
    "https://host/a?TOPSECRET": f"https://host/a?{HIDDEN}",
    # As a path.
    "https:/me:TOPSECRET@host/a?sig=TOPSECRET": f"https:/{HIDDEN}@host/a?sig={HIDDEN}",
    "s3:/TOPSECRET@bucket/x": f"s3:/{HIDDEN}@bucket/x",
}
AS_THEY_ARE = [
    "https://host:8080/a@b/c",
    "C:/ann@home/x",
    "no:/such/ann@home",
    "s3://bucket/day-?.jsonl",
    "s3://bucket/[0-9]*.jsonl",
    "hub:owner/name",
    "loss per token: 0.5",
    "pad_token: <|end|>",
    "events.user_key: Field required",
    "judges: key_from names MY_KEY, which is not set in the environment.",
    "sequences.max_tokens=512",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_credentials_of_an_address_are_left_out(address):
    assert without_secrets(address) == ADDRESSES[address]
    assert without_secrets(f"cannot open '{address}': refused") == f"cannot open '{ADDRESSES[address]}': refused"


@pytest.mark.parametrize("text", AS_THEY_ARE)
def test_what_is_no_secret_stays(text):
    assert without_secrets(text) == text


@pytest.mark.parametrize("text", [*ADDRESSES, *AS_THEY_ARE, "a --set x.user_key=TOPSECRET", "{token: TOPSECRET, b: 1}"])
def test_what_was_hidden_once_stays_as_it_is(text):
    once = without_secrets(text)
    assert without_secrets(once) == once
    assert "TOPSECRET" not in once and "SECRET" not in once.replace(HIDDEN, "")


def test_settings_keep_their_shape():
    settings = {"events": {"user_key": "TOPSECRET", "inputs": ["s3://a:TOPSECRET@b/c"], "options": {"token": "TOP"}}}
    assert without_secrets(settings) == {
        "events": {"user_key": HIDDEN, "inputs": [f"s3://{HIDDEN}@b/c"], "options": {"token": HIDDEN}}
    }
    assert without_secrets({"user_key": "thumbline", "eos_token": "</s>", "seed": 3, "key": None}) == {
        "user_key": "thumbline",
        "eos_token": "</s>",
        "seed": 3,
        "key": None,
    }


def test_a_named_secret_shows_that_it_changed_and_nothing_else():
    first, second = (with_named_secrets({"user_key": key})["user_key"] for key in ("TOPSECRET", "OTHER"))
    assert first != second
    assert "TOPSECRET" not in first and first.startswith("(kept secret, ")
    assert with_named_secrets({"user_key": first}) == {"user_key": first}
    # Credentials of an address do not decide what lies there: a new signature makes no other settings.
    signed = [with_named_secrets([f"https://host/a.jsonl?sig={sign}"]) for sign in ("one", "two")]
    assert signed[0] == signed[1]


def test_a_command_is_shown_without_what_its_arguments_hold():
    shown = shown_command(["thumbline", "run", "--set", "events.user_key=TOP SECRET", "s3://a:TOPSECRET@b/*.jsonl"])
    assert shown == f"thumbline run --set 'events.user_key={HIDDEN}' 's3://{HIDDEN}@b/*.jsonl'"
    assert "TOPSECRET" not in shown_command(["x", "--set", "events={user_key: TOPSECRET, inputs: [a]}"])


def test_what_is_told_holds_nothing_of_the_environments_secrets(monkeypatch):
    monkeypatch.setenv("MY_JUDGE_KEY", "quite-a-long-one")
    monkeypatch.setenv("SOME_PATH", "/quite/a/long/path")
    # A shell's word for the working folder, not for a password.
    monkeypatch.setenv("PWD", "/quite/a/long")
    told = as_told("401 for quite-a-long-one at /quite/a/long/path, Bearer abcdefgh1234, hf_abcdefghijklmnopqrst")
    assert told == f"401 for {HIDDEN} at /quite/a/long/path, Bearer {HIDDEN}, {HIDDEN}"


@pytest.mark.parametrize(
    "name", ["user_key", "HF_TOKEN", "api-key", "apiKey", "AWS_SECRET_ACCESS_KEY", "password", "sig"]
)
def test_names_of_secrets(name):
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["key_from", "max_tokens", "eos_token", "keyword", "monkey", "design", "group_by"])
def test_names_of_other_things(name):
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "text", ["k" * 200_000, "a://" + "k" * 200_000, "{" + "\n" * 100_000 + "x", "-key" * 50_000, "http://a:b" * 20_000]
)
def test_long_texts_take_no_time(text):
    begun = time.process_time()
    assert without_secrets(text) == shown_argument(text) == text
    # With the square of the length it was a minute.
    assert time.process_time() - begun < 5

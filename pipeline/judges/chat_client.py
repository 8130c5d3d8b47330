"""One request to an OpenAI-compatible address, tried again where that can help; no key is ever in what it says."""

import json
import random
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from ..errors import EngineError

if TYPE_CHECKING:
    # Imported where it is used: every run imports this module, and few ask a chat model.
    import httpx

# Only this request is at fault: too long, or words that the server will not read.
_REJECTED: Final = frozenset({400, 413, 422})
# Tried again; so are all of 500 and above.
_PASSING: Final = frozenset({408, 409, 425, 429})
# No verdict is as long: what is longer is not read to its end.
_MOST_BYTES: Final = 4 << 20
# Seconds before the second try; each later one waits twice as long.
_FIRST_WAIT: Final = 1.0
_LONGEST_WAIT: Final = 60.0
_SHOWN: Final = 200


class Reply(NamedTuple):
    """What a chat model answered.

    Attributes:
        text: Its words; empty where it gave none.
        finish: Why it ended, as the server says: `stop`, `length`, `content_filter`; None where it does not say.
        refused: Whether the server marks it as a refusal.
        prompt_tokens: Tokens read, as the server counts; None where it does not say.
        completion_tokens: Tokens written, likewise.
    """

    text: str
    finish: str | None = None
    refused: bool = False
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Fault(NamedTuple):
    """Why there is no reply.

    Attributes:
        reason: `rejected` where the server will not take the request, `no_answer` where it gave none to any try.
        words: What it said, without the key.
    """

    reason: str
    words: str


class _Passing(Exception):  # noqa: N818  it ends in another try, not in an error
    """Something that may be over at the next try."""

    def __init__(self, words: str, wait: float | None = None) -> None:
        super().__init__(words)
        self.words, self.wait = words, wait


class ChatClient:
    """An address, and how patiently it is asked; may be used by several threads."""

    def __init__(self, address: str, key: str | None, *, timeout_s: float, tries: int) -> None:
        """Nothing is sent yet.

        Args:
            address: What comes before `/chat/completions`.
            key: Sent as a bearer token; None sends none.
            timeout_s: Seconds that a try may take, all in all.
            tries: How often a request is sent at most.
        """
        import httpx

        self._url = address.rstrip("/").removesuffix("/chat/completions") + "/chat/completions"
        self._key, self._timeout, self._tries = key, timeout_s, tries
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        # A proxy of the environment is for what lies outside of this machine.
        self._client = httpx.Client(headers=headers, timeout=timeout_s, trust_env=not is_here(address))
        self._stopped = threading.Event()

    def ask(self, body: Mapping[str, Any]) -> Reply | Fault:
        """The reply to one request.

        Raises:
            EngineError: The server refuses whoever asks, or knows no such model: no other request would fare better.
        """
        words = "stopped"
        for number in range(self._tries):
            if self._stopped.is_set():
                break
            try:
                return self._once(body)
            except _Passing as passing:
                words = passing.words
                if number + 1 < self._tries:
                    self._stopped.wait(_wait(passing.wait, number))
        return Fault("no_answer", words)

    def stop(self) -> None:
        """Send nothing more, and let nobody wait."""
        self._stopped.set()

    def close(self) -> None:
        """Free the connections."""
        self._client.close()

    def _once(self, body: Mapping[str, Any]) -> Reply | Fault:
        import httpx

        ends = time.monotonic() + self._timeout
        try:
            with self._client.stream("POST", self._url, json=body) as response:
                data = _read(response, ends)
        except httpx.TimeoutException as error:
            raise _Passing(f"no answer within {self._timeout:g} s") from error
        except (httpx.HTTPError, OSError) as error:
            raise _Passing(self._clean(f"{type(error).__name__}: {error}")) from error
        if response.status_code == 200:
            return self._reply(data)
        return self._fault(response, data)

    def _fault(self, response: "httpx.Response", data: bytes) -> Fault:
        status = response.status_code
        words = self._clean(f"{status} {_message(data)}")
        # An account without money answers like one that asks too fast.
        if (status in _PASSING or status >= 500) and b"insufficient_quota" not in data:
            raise _Passing(words, _asked_to_wait(response.headers.get("retry-after")))
        if status in _REJECTED:
            return Fault("rejected", words)
        raise EngineError(
            f"judges: {self._clean(self._url)} answers {words}. Look at the address, the model's name, and the key in "
            f"the variable that key_from names."
        )

    def _reply(self, data: bytes) -> Reply:
        try:
            document = json.loads(data)
            choice = document["choices"][0]
            message = choice["message"]
            text, refusal = message.get("content"), message.get("refusal")
            usage = document.get("usage") or {}
            finish = choice.get("finish_reason")
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise _Passing(f"an answer that is no chat completion: {self._clean(_message(data))}") from error
        counts = [_count(usage, name) for name in ("prompt_tokens", "completion_tokens")]
        if not isinstance(text, str | None):
            raise _Passing(f"an answer whose content is a {type(text).__name__}")
        return Reply(
            self._hidden(text or refusal or ""),
            finish if isinstance(finish, str) else None,
            bool(refusal) or finish == "content_filter",
            *counts,
        )

    def _clean(self, words: str) -> str:
        """One short line without the key, which a server may repeat."""
        line = " ".join(self._hidden(words).split())
        return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"

    def _hidden(self, words: str) -> str:
        return words.replace(self._key, "…") if self._key else words


def is_here(address: str) -> bool:
    """Whether an address is this machine's own."""
    host = urlsplit(address).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _read(response: "httpx.Response", ends: float) -> bytes:
    """The body, which may be neither endless nor endlessly slow."""
    data = b""
    for piece in response.iter_bytes():
        data += piece
        if len(data) > _MOST_BYTES:
            raise _Passing("an answer of more than 4 MiB")
        if time.monotonic() > ends:
            raise _Passing("an answer that does not end in time")
    return data


def _message(data: bytes) -> str:
    """An error's own words, else the body."""
    text = data.decode("utf-8", errors="replace")
    try:
        error = json.loads(text)["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        return text or "nothing"


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and value >= 0 else None


def _asked_to_wait(header: str | None) -> float | None:
    """Seconds of a Retry-After: a number of them, or a date."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _wait(asked: float | None, number: int) -> float:
    """Seconds until the next try: as the server asks, else twice as long each time, apart from the other threads'."""
    own = _FIRST_WAIT * 2.0**number * random.uniform(0.5, 1.0)  # decides when something is sent, never what
    return min(_LONGEST_WAIT, own if asked is None else max(asked, own))

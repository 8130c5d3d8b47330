"""A chat model behind an OpenAI-compatible address as a judge of two answers, asked in both orders."""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from ..context import Advance
from ..errors import EngineError, PipelineError
from ..storage.digests import digest_json
from ..storage.folders import open_folder
from .base import AnswerPair, JudgeSpec, Preference, Surroundings
from .chat_client import ChatClient, Fault, Reply, is_here
from .chat_options import MANNER, ChatOptions, check_key, key_of
from .chat_prompts import verdict, written
from .replies import Replies

# So many requests in a row without an answer, and the server is taken to be gone.
_GONE: Final = 8
# A larger share of requests without an answer is no figure of the model any more.
_MOST_UNANSWERED: Final = 0.05


class _Kept(NamedTuple):
    """What is remembered of a reply: its verdict or why there is none, and tokens."""

    said: Preference
    prompt_tokens: int | None
    completion_tokens: int | None


class ChatJudge:
    """A chat model that is asked which of two answers is better."""

    def __init__(self, options: ChatOptions, client: ChatClient, replies: Replies | None, name: str) -> None:
        """Read the replies that are kept; nothing is sent yet."""
        self._options, self._client, self._replies, self._name = options, client, replies, name
        kept = () if replies is None else replies.read()
        self._known = {request: _kept(Reply(**reply)) for request, reply in kept}
        self._used: dict[str, _Kept] = {}
        self._faults: dict[str, Fault] = {}
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._in_a_row, self._spent = 0, 0.0

    def compare(self, pairs: Sequence[AnswerPair], advance: Advance) -> list[Preference]:
        """The model's verdict on each pair as it is shown; equal answers tie, and nobody is asked.

        Raises:
            EngineError: The server is gone, refuses whoever asks, or leaves too many requests unanswered.
            PipelineError: The budget is spent.
        """
        bodies = [None if _are_equal(pair) else self._body(pair) for pair in pairs]
        requests = [None if body is None else self._request(body) for body in bodies]
        new = {
            request: body
            for request, body in zip(requests, bodies, strict=True)
            if request is not None and body is not None and request not in self._known
        }
        self._counts["equal"] += requests.count(None)
        self._counts["from_kept"] += sum(request is not None and request not in new for request in requests)
        advance(len(pairs) - len(new))
        self._ask_all(new, advance)
        return [self._said(request) for request in requests]

    def _said(self, request: str | None) -> Preference:
        if request is None:
            return Preference(0.5)
        if request in self._faults:
            return Preference(None, self._faults[request].reason)
        self._used[request] = self._known[request]
        return self._known[request].said

    def _body(self, pair: AnswerPair) -> dict[str, Any]:
        options = self._options
        question = written(pair, options.template, options.criterion)
        body = {
            "model": options.model,
            "messages": [{"role": "user", "content": question}],
            "max_tokens": options.max_tokens,
            "temperature": options.temperature,
            "seed": options.seed,
        }
        return {key: value for key, value in (body | options.body).items() if value is not None}

    def _request(self, body: Mapping[str, Any]) -> str:
        return digest_json([self._options.address, body])

    def _ask_all(self, new: Mapping[str, Mapping[str, Any]], advance: Advance) -> None:
        with ThreadPoolExecutor(self._options.concurrency) as pool:
            waiting = [pool.submit(self._ask, request, body) for request, body in new.items()]
            try:
                for done in as_completed(waiting):
                    done.result()
                    advance(1)
            except BaseException:
                # Whatever stops this, an interrupt too: what waits is not sent, and nobody waits for another try.
                self._client.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _ask(self, request: str, body: Mapping[str, Any]) -> None:
        found = self._client.ask(body)
        if isinstance(found, Reply) and self._replies is not None:
            # Before anything else can go wrong: it is paid for.
            self._replies.keep(request, found._asdict())
        with self._lock:
            self._counts["asked"] += 1
            if isinstance(found, Reply):
                self._in_a_row = 0
                self._known[request] = _kept(found)
                self._pay(found)
            else:
                self._fail(request, found)

    def _pay(self, reply: Reply) -> None:
        self._spent += self._cost(reply.prompt_tokens or 0, reply.completion_tokens or 0) or 0.0
        most = self._options.most_cost
        if most is not None and self._spent >= most:
            raise PipelineError(
                f"judgements: {self._name} has cost {self._spent:.4f} of most_cost {most:g} after "
                f"{self._counts['asked']:,} requests. What was answered is kept: raise most_cost to go on from there."
            )

    def _fail(self, request: str, fault: Fault) -> None:
        self._faults[request] = fault
        self._counts[fault.reason] += 1
        self._in_a_row = self._in_a_row + 1 if fault.reason == "no_answer" else 0
        if self._in_a_row >= _GONE:
            raise EngineError(
                f"judgements: {self._name}: {self._options.address} left {self._in_a_row} requests in a row without an "
                f"answer, each tried {self._options.tries} times ({fault.words}). What was answered is kept: run again "
                f"to go on from there."
            )

    def _cost(self, read: int, written_tokens: int) -> float | None:
        options = self._options
        if options.price_in is None or options.price_out is None:
            return None
        return (read * options.price_in + written_tokens * options.price_out) / 1e6

    def facts(self) -> Mapping[str, Any]:
        """Requests, kept replies, tokens and cost of all verdicts; of this run's requests `spent`.

        Raises:
            EngineError: Too many requests were left without an answer.
        """
        asked, lost = self._counts["asked"], self._counts["no_answer"]
        if lost > _MOST_UNANSWERED * (asked + self._counts["from_kept"]):
            words = next(fault.words for fault in self._faults.values() if fault.reason == "no_answer")
            raise EngineError(
                f"judgements: {self._name}: {lost:,} of {asked:,} requests got no answer ({words}). What was answered "
                f"is kept: run again to ask for the others."
            )
        read = sum(one.prompt_tokens or 0 for one in self._used.values())
        wrote = sum(one.completion_tokens or 0 for one in self._used.values())
        verdicts = Counter(one.said.first for one in self._used.values())
        cost = self._cost(read, wrote)
        return {
            "host": urlsplit(self._options.address).hostname,
            "model": self._options.model,
            "asked": asked,
            "from_kept": self._counts["from_kept"],
            "equal_answers": self._counts["equal"],
            "first_better": verdicts[1.0],
            "second_better": verdicts[0.0],
            "ties": verdicts[0.5],
            "prompt_tokens": read,
            "completion_tokens": wrote,
            "uncounted_replies": sum(one.prompt_tokens is None for one in self._used.values()),
            "cost": cost,
            "spent": None if cost is None else round(self._spent, 6),
            "said": [self._sentence(read, wrote, cost), *self._told_faults()],
        }

    def _sentence(self, read: int, wrote: int, cost: float | None) -> str:
        paid = "" if cost is None else f", cost {cost:.4f}, of it {self._spent:.4f} now"
        return (
            f"{self._name}: {self._counts['asked']:,} requests to {urlsplit(self._options.address).hostname}, "
            f"{self._counts['from_kept']:,} verdicts from replies kept before, {self._counts['equal']:,} comparisons "
            f"of equal answers tied unasked; {read:,} tokens read, {wrote:,} written{paid}."
        )

    def _told_faults(self) -> list[str]:
        firsts = {fault.reason: fault.words for fault in reversed(self._faults.values())}
        return [f"{self._name}: {reason}, for example: {words}." for reason, words in sorted(firsts.items())]

    def close(self) -> None:
        """Put kept replies together, and let the connections go."""
        self._client.stop()
        self._client.close()
        if self._replies is not None:
            self._replies.pack()


def _are_equal(pair: AnswerPair) -> bool:
    return pair.first.completion == pair.second.completion


def _kept(reply: Reply) -> _Kept:
    said = verdict(reply.text)
    if reply.refused:
        preference = Preference(None, "refused")
    elif said is not None:
        preference = Preference(said)
    else:
        preference = Preference(None, "cut_off" if reply.finish == "length" else "unreadable")
    return _Kept(preference, reply.prompt_tokens, reply.completion_tokens)


def open_chat(options: ChatOptions, surroundings: Surroundings) -> ChatJudge:
    """The judge, with the replies that are kept of it.

    Raises:
        ConfigError: The key is not in the environment.
    """
    client = ChatClient(options.address, key_of(options), timeout_s=options.timeout_s, tries=options.tries)
    if not is_here(options.address):
        host = urlsplit(options.address).hostname
        surroundings.reporter.say(f"{surroundings.name}: prompts and answers are sent to {host}.")
    folder = None if surroundings.replies is None else open_folder(surroundings.replies)
    replies = None if folder is None else Replies(folder, [options.address, options.model])
    return ChatJudge(options, client, replies, surroundings.name)


SPEC: Final = JudgeSpec(
    "A chat model behind an OpenAI-compatible address, asked in both orders. Prompts and answers are sent there.",
    True,
    ChatOptions,
    open_chat,
    check=check_key,
    manner=MANNER,
)

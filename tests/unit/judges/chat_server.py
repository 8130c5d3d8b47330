"""A stand-in for an OpenAI-compatible server on loopback that fails as it is told to."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

Headers = dict[str, str]


class Answered(NamedTuple):
    """What the server sends."""

    body: Any
    status: int = 200
    headers: Headers | None = None
    seconds: float = 0.0


def said(text: str | None, *, finish: str = "stop", refusal: str | None = None) -> Answered:
    """A chat completion of ten tokens read and two written."""
    message = {"role": "assistant", "content": text, "refusal": refusal}
    usage = {"prompt_tokens": 10, "completion_tokens": 2}
    return Answered({"choices": [{"message": message, "finish_reason": finish}], "usage": usage})


class Server:
    """What was asked, in order of arrival, and what is answered: a function of the request's body and its number."""

    def __init__(self, answer: Callable[[dict[str, Any], int], Answered]) -> None:
        self.answer = answer
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[Headers] = []
        self.stopped = threading.Event()
        self.lock = threading.Lock()
        self.address = ""


@contextmanager
def serving(answer: Callable[[dict[str, Any], int], Answered]) -> Iterator[Server]:
    """A server for as long as the block runs."""
    server = Server(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with server.lock:
                server.bodies.append(body)
                server.headers.append({key.lower(): value for key, value in self.headers.items()})
                number = len(server.bodies)
            answered = server.answer(body, number)
            server.stopped.wait(answered.seconds)
            data = answered.body if isinstance(answered.body, bytes) else json.dumps(answered.body).encode()
            try:
                self.send_response(answered.status)
                for key, value in (answered.headers or {}).items():
                    self.send_header(key, value)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):
                # Whoever asked has given up.
                return

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.address = f"http://127.0.0.1:{http.server_address[1]}/v1"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.stopped.set()
        http.shutdown()
        http.server_close()
        thread.join()

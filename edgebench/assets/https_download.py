"""Downloads over https; every redirect must stay on https."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edgebench.errors import AssetError

from .archive import copy_hashed
from .pip_download import OFFLINE_FIX, Report

MAX_BYTES = 64 << 30
_TIMEOUT_S = 60.0

#: A response: a readable with `headers`, closed after use.
OpenUrl = Callable[[str], http.client.HTTPResponse]


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not newurl.startswith("https://"):
            raise AssetError(
                f"the server redirects to {newurl[:120]!r}, which is not https",
                "use an address that stays on https",
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def open_https(url: str) -> http.client.HTTPResponse:
    """Opens an https address; proxies of the environment hold."""
    opener = urllib.request.build_opener(_HttpsOnly())
    request = urllib.request.Request(url, headers={"User-Agent": "edgebench"})
    response: http.client.HTTPResponse = opener.open(request, timeout=_TIMEOUT_S)
    return response


def download(
    url: str,
    target: Path,
    report: Report = lambda _done, _total: None,
    open_url: OpenUrl = open_https,
) -> str:
    """Writes what is behind an address to a new file and gives its sha256.

    Raises AssetError where it cannot be had whole, OSError where writing fails.
    """
    with _connect(url, open_url) as response:
        length = response.headers.get("Content-Length", "")
        body = _Body(response, int(length) if length.isdecimal() else None, report)
        digest = copy_hashed(body, [target], body.count)
    if body.total_bytes is not None and body.done_bytes != body.total_bytes:
        raise _stopped(body)
    return digest


@dataclass
class _Body:
    """A response's content; a connection that breaks is told apart from a disk that fails."""

    response: http.client.HTTPResponse
    total_bytes: int | None
    report: Report
    done_bytes: int = 0

    def read(self, size: int, /) -> bytes:
        try:
            return self.response.read(size)
        except (OSError, http.client.HTTPException):
            raise _stopped(self) from None

    def count(self, size: int) -> None:
        self.done_bytes += size
        if self.done_bytes > MAX_BYTES:
            raise AssetError("the server sends more than any model has", "check the address")
        self.report(self.done_bytes, self.total_bytes)


def _connect(url: str, open_url: OpenUrl) -> http.client.HTTPResponse:
    try:
        return open_url(url)
    except urllib.error.HTTPError as error:
        error.close()
        raise AssetError(
            f"the server answers {error.code} {error.reason} for {url}",
            "log in there or ask for access, then bring the file as a `file:` asset"
            if error.code in (401, 403)
            else "check the address; the file may have moved",
        ) from None
    except (OSError, http.client.HTTPException) as error:
        cause = getattr(error, "reason", error)
        raise AssetError(f"no connection to {url} ({cause})", OFFLINE_FIX) from None


def _stopped(body: _Body) -> AssetError:
    total = f" of {body.total_bytes}" if body.total_bytes is not None else ""
    return AssetError(
        f"the download stopped after {body.done_bytes}{total} bytes",
        "pull again (what is complete stays)",
    )

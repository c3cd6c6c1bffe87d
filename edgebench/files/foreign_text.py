"""Text that another program wrote: read within bounds, unpacked, and decoded (PowerShell writes UTF-16).

What terminals and CI systems put around its lines is taken off in `ci_log_marks`.
"""

from __future__ import annotations

import codecs
import errno
import gzip
import io
import zlib
from pathlib import Path

from edgebench.errors import EdgebenchError
from edgebench.files.regular_file import read_regular

_GZIP = b"\x1f\x8b"
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark begins alike
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MIN_UTF16_ZEROS = (
    0.6  # share of zero bytes among every second byte that text in UTF-16 has at least
)
_MAX_UTF16_ODDS = 0.05  # share among the others that it has at most


def read_bytes(path: Path, max_bytes: int, error: type[EdgebenchError]) -> bytes:
    """The content of a regular file. Raises `error`, for a longer one before more is read."""
    try:
        return read_regular(path, max_bytes)
    except OSError as problem:
        raise error(f"{path}: {problem.strerror}", _FIXES.get(problem.errno or 0, "")) from None
    except ValueError as problem:  # a path with a zero byte in it
        raise error(f"{path}: {problem}") from None


_CUT = "cut it to the part that matters, with its head"
_FIXES = {errno.EINVAL: "write the text to a file and give that", errno.EFBIG: _CUT}


def unpacked(data: bytes, path: Path, max_bytes: int, error: type[EdgebenchError]) -> bytes:
    """Unpacks gzip; other data is returned unchanged. Raises `error`, also for more than `max_bytes`."""
    if not data.startswith(_GZIP):
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
            content = packed.read(max_bytes + 1)
    except (OSError, EOFError, zlib.error) as damage:
        raise error(f"{path}: damaged gzip: {damage}", "fetch it again") from None
    if len(content) > max_bytes:
        problem = f"unpacked it is larger, and at most {max_bytes / 2**20:g} MiB are read"
        raise error(f"{path}: {problem}", _CUT)
    return content


def decode(data: bytes, where: Path, error: type[EdgebenchError]) -> str:
    """The text of UTF-8, or of UTF-16 and UTF-32 as their marks or zero bytes tell. Raises `error`."""
    encoding = _encoding(data)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as problem:
        line = data.count(b"\n", 0, problem.start) + 1
        name = encoding.removesuffix("-sig").upper()
        raise error(f"{where}:{line}: not {name} text", "save it as UTF-8") from None


def _encoding(data: bytes) -> str:
    for mark, name in _BOMS:
        if data.startswith(mark):
            return name
    sample = data[:4096]
    even, odd = (sample[start::2].count(0) / (len(sample) // 2 or 1) for start in (0, 1))
    if odd >= _MIN_UTF16_ZEROS and even <= _MAX_UTF16_ODDS:
        return "utf-16-le"
    if even >= _MIN_UTF16_ZEROS and odd <= _MAX_UTF16_ODDS:
        return "utf-16-be"
    return "utf-8"

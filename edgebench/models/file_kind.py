"""Detects the format of a model file by its name and first bytes, and what else lies in its place."""

from __future__ import annotations

from pathlib import Path

from edgebench.errors import EdgebenchError
from edgebench.files.regular_file import open_regular

_HEAD_BYTES = 512
#: First bytes, in small letters, of what often lies where a model should -> what it is, what to do.
_NO_MODEL: dict[bytes, tuple[str, str]] = {
    b"version https://git-lfs.github.com/spec/": (
        "a pointer of Git LFS, not the file it stands for",
        "git lfs pull, in the repository that the file belongs to",
    ),
    b"/annex/objects/": (
        "a pointer of git-annex, not the file it stands for",
        "git annex get, in the repository that the file belongs to",
    ),
    b"<!doctype html": ("a web page", "download the file itself, not the page that shows it"),
    b"<html": ("a web page", "download the file itself, not the page that shows it"),
}
#: Format -> where its mark stands, and the mark.
_MARKS = {"gguf": (0, b"GGUF"), "tflite": (4, b"TFL3")}
_AGAIN = "check that the file arrived whole: download or export it again"


def format_of(name: str | Path) -> str:
    """The format that a file's name tells, in small letters; "" for a name without one."""
    return Path(name).suffix.removeprefix(".").lower()


def check_arrived(path: Path) -> None:
    """Raises EdgebenchError where the file is empty, or what a repository or server gave in its place."""
    head = _head(path)
    if not head:
        raise EdgebenchError(f"{path} is empty", _AGAIN)
    start = head.lstrip().lower()
    for first, (what, fix) in _NO_MODEL.items():
        if start.startswith(first):
            raise EdgebenchError(f"{path} is {what}", fix)


def check_mark(path: Path, form: str) -> None:
    """Raises EdgebenchError where a file lacks the mark that its format begins with."""
    place, mark = _MARKS.get(form, (0, b""))
    if _head(path)[place : place + len(mark)] != mark:
        raise EdgebenchError(
            f"{path} is not a {form} file: the mark {mark.decode()} is missing", _AGAIN
        )


def _head(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read(_HEAD_BYTES)
    except OSError as error:
        raise EdgebenchError(f"{path} cannot be read: {error.strerror or error}") from None

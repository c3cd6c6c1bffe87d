"""Writes a site into a folder: pages, their data, and reports. It takes no folder that holds something else."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any, Final

from edgebench.errors import StoreError, UsageError, mend_disk
from edgebench.files.atomic_write import whole_file
from edgebench.files.json_lines import encoded
from edgebench.report import theme
from edgebench.site.build_site import SiteBuilder
from edgebench.text.plain_text import plain_json

MARKER: Final = ".edgebench-site"
PAGES: Final = ("index.html", "device.html")
_OWN = ("data", "reports")
_NO_JEKYLL = ".nojekyll"  # GitHub Pages serves the files as they are


def take_folder(out: Path) -> None:
    """Empties what an earlier site left there. Raises UsageError where the folder holds anything else."""
    try:
        if out.exists() and any(out.iterdir()) and not (out / MARKER).is_file():
            raise UsageError(
                f"{out}: the folder is not empty and holds no site of edgebench",
                "name an empty or a new folder with -o",
            )
        out.mkdir(parents=True, exist_ok=True)
        (out / MARKER).write_text("written by `edgebench site`; it replaces what it wrote before\n")
        (out / _NO_JEKYLL).touch()
        for name in _OWN:
            shutil.rmtree(out / name, ignore_errors=True)
            (out / name).mkdir()
    except OSError as error:
        message = f"{out}: cannot be written: {error.strerror}"
        raise StoreError(message, mend_disk(error, "name another folder with -o")) from None


def write_site(builder: SiteBuilder, title: str, out: Path) -> int:
    """Writes all files into a folder that was taken; returns how many bytes they are."""
    total = 0
    for name, content in _files(builder, title):
        with whole_file(out / name) as partial:
            partial.write_bytes(content)
        total += len(content)
    return total


def _files(builder: SiteBuilder, title: str) -> Iterator[tuple[str, bytes]]:
    yield "data/index.js", _script(builder.index(title))
    for number, page in enumerate(builder.pages()):
        yield f"data/device-{number}.js", _script(page)
    yield "site.css", (theme.css() + _file("site.css")).encode()
    yield "site.js", _file("site.js").encode()
    for name in PAGES:
        yield name, _file(name).encode()


def _script(value: Any) -> bytes:
    """The data as a script: a page that is opened from a folder may not fetch a file."""
    text = plain_json(encoded(value).decode()).strip()
    return f"window.edgebenchData({text});\n".encode()


def _file(name: str) -> str:
    return resources.files("edgebench.site").joinpath("html", name).read_text(encoding="utf-8")


def report_name(device: str, taken: set[str]) -> str:
    """A name for the file of a report, whatever the device is called."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", device)[:80].strip("-.") or "device"
    name, number = f"reports/{stem}.html", 2
    while name in taken:
        name, number = f"reports/{stem}-{number}.html", number + 1
    taken.add(name)
    return name

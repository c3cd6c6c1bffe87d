"""What mkdocs cannot do by itself: pages outside docs/ that pages link to become part of the site.

Files keep their place in the repository, with `docs/` taken off: a link is right on the site where it is
right in a checkout.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
_CODE = re.compile(r"<code>[^<]*</code>")
_LINK = re.compile(r"(\]\()([^)#:\s]+)((?:#[^)\s]*)?\))")


def on_files(files: Files, config: Any) -> Files:
    """Adds every file outside docs/ that a page links to, and what those link to in turn."""
    waiting = [f"docs/{file.src_uri}" for file in files.documentation_pages()]
    seen = set(waiting)
    while waiting:
        page = waiting.pop()
        for target in set(_links(page)) - seen:
            seen.add(target)
            if target.startswith("docs/") or not (ROOT / target).is_file():
                continue  # mkdocs judges those
            files.append(File.generated(config, target, abs_src_path=str(ROOT / target)))
            if target.endswith(".md"):
                waiting.append(target)
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Turns links between files of the repository into links between pages of the site."""
    here = page.file.src_uri
    source = f"docs/{here}" if (ROOT / "docs" / here).is_file() else here

    def on_site(link: re.Match[str]) -> str:
        target = _resolved(source, link[2]).removeprefix("docs/")
        return f"{link[1]}{posixpath.relpath(target, posixpath.dirname(here) or '.')}{link[3]}"

    return _LINK.sub(on_site, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Shows a bar in a table's code as GitHub does: it is written with a backslash, and read without."""
    return _CODE.sub(lambda code: code[0].replace("\\|", "|"), html)


def _links(page: str) -> Iterator[str]:
    for link in _LINK.finditer((ROOT / page).read_text(encoding="utf-8")):
        yield _resolved(page, link[2])


def _resolved(page: str, target: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), target))

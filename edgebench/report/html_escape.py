"""Text of result files as HTML text."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from edgebench.text.plain_text import plain


def esc(words: str) -> str:
    """Text as HTML text, safe in attributes too."""
    return html.escape(plain(words), quote=True)


def list_html(lines: Iterable[str], name: str = "") -> str:
    """A list of lines; "" where there are none."""
    items = "".join(f"<li>{esc(line)}</li>" for line in lines)
    return f'<ul class="{name}">{items}</ul>' if items else ""


def section_html(anchor: str, title: str, gist: str, content: str) -> str:
    """A section of the page, which is open where the page is wide; "" where it has no content."""
    if not content:
        return ""
    return (
        f'<details class="section" id="{anchor}" data-wide><summary><h2>{title}</h2> '
        f'<span class="gist">{esc(gist)}</span></summary>{content}</details>'
    )


def table_html(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    numbers: Sequence[int] = (),
    choice: int | None = None,
) -> str:
    """A table that scrolls sideways where it must; `numbers` are the columns set right, `choice` a row that stands out."""

    def attributes(column: int) -> str:
        return ' class="number"' if column in numbers else ""

    heads = "".join(
        f'<th scope="col"{attributes(n)}>{esc(words)}</th>' for n, words in enumerate(head)
    )
    lines = "".join(
        f'<tr{" class=choice" if place == choice else ""}>'
        + "".join(f"<td{attributes(n)}>{esc(words)}</td>" for n, words in enumerate(row)) + "</tr>"
        for place, row in enumerate(rows)
    )  # fmt: skip
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )

"""Takes off what terminals, CI systems and others put around the lines of a log: time stamps and colour codes.

A log reaches us through terminals, shells, CI systems and issue trackers. They add colours, time
stamps and quotes before the lines. What the program itself wrote is the same behind all of them.
"""

from __future__ import annotations

import re

_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]"  # colours and moves of the cursor
    r"|\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # titles and links
    r"|[@-Z\\^_])"
)
#: No control character but tab, line feed and carriage return; none that turns the direction of text.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]"
)
_CLOCK = r"\d{1,2}:\d\d:\d\d(?:[.,]\d{1,9})?"
_DATE = rf"\d{{4}}[-/]\d\d[-/]\d\d[T ]{_CLOCK}(?:Z|[+-]\d\d:?\d\d)?"
_STAMP = re.compile(
    rf"[\[(]?(?:{_DATE}|{_CLOCK}|[A-Z][a-z]{{2}} [ \d]\d {_CLOCK}|\d{{10}}(?:\.\d{{1,9}})?)[\])]?"
    r"(?: \d\d[OE]\+?)?"  # GitLab's stream
    r"(?: [\w.-]{1,80} [\w./@-]{1,80}\[\d{1,9}\]:)?"  # journald's host and process
    r"(?:[ \t]|$)"
    r"|\[ {0,10}\d{1,9}\.\d{1,9}\][ \t]"  # the kernel's clock
    r"|[\w.-]{1,80}[-_]\d{1,3} {1,40}\|(?: |$)"  # docker compose's container
    r"|>(?: |$)"  # a quotation
)
_MAX_STAMPS = 4  # one behind the other, before a line


def terminal_lines(text: str) -> list[str]:
    """The lines as a terminal would leave them, without escape sequences and control characters; number n
    of an editor stands at n - 1."""
    text = _CONTROLS.sub("", _ESCAPES.sub("", text)).replace("\r\n", "\n")
    if "\n" not in text:
        text = text.replace("\r", "\n")
    # What a progress bar writes over itself ends with the line that stays.
    return [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]


def unstamped(line: str) -> str:
    """The line without the time stamps, quotes and names that other programs put before it."""
    for _ in range(_MAX_STAMPS):
        stamp = _STAMP.match(line)
        if stamp is None:
            break
        line = line[stamp.end() :]
    return line

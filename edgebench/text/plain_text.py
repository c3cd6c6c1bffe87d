"""Foreign text made safe for terminals, logs of CI systems, XML and Markdown: the one place that does it.

Names, reasons and messages come from result files, definitions, model files, runtimes and other tools.
Whatever writes them for people passes them through `plain`; what writes JSON uses `plain_json`.
"""

from __future__ import annotations

import re
import sys

MAX_LINE_CHARACTERS = 2000
MAX_LINES = 40

#: Controls (escape sequences), marks that turn the direction of text or are not seen, ends of lines and
#: paragraphs, lone surrogates, and what XML cannot hold.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff0-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e0fff]"
)
_COMMANDS = (
    "add-mask|add-matcher|add-path|debug|echo|endgroup|error|group|notice|remove-matcher|save-state|"
    "set-env|set-output|stop-commands|warning"
)
#: What GitHub's runner obeys at the start of a line, and it and others anywhere in one.
_ORDER = re.compile(rf"::(?=({_COMMANDS})\b)|##(?=\[|vso\[|teamcity\[)", re.IGNORECASE)


def plain(text: str) -> str:
    """One line of text without what could steer a terminal, a CI system or a reader's eye.

    Each unsafe character becomes "?"; the marks that begin an order to a CI system are set apart.
    """
    if _UNSAFE.search(text):
        text = _UNSAFE.sub("?", text)
    if "::" in text or "##" in text:
        text = _ORDER.sub(lambda mark: " ".join(mark[0]), text)
    return text


def plain_lines(text: str) -> str:
    """Several lines of text, each plain and none overlong; of very many the first."""
    lines = text.expandtabs(4).splitlines() or [""]
    shown = [plain(shortened(line)) for line in lines[:MAX_LINES]]
    if len(lines) > MAX_LINES:
        shown.append(f"... and {len(lines) - MAX_LINES} more lines")
    return "\n".join(shown)


def say(text: str) -> None:
    """Writes lines for people to stderr, made plain: they quote files, runtimes and other tools."""
    print(plain_lines(text), file=sys.stderr, flush=True)


def shortened(text: str, most: int = MAX_LINE_CHARACTERS) -> str:
    """The text, or its start and how much is left out."""
    if len(text) <= most:
        return text
    return f"{text[:most]}... ({len(text) - most} more characters)"


def spreadsheet_text(text: str) -> str:
    """A text cell of CSV: where a spreadsheet would run it as a formula, an apostrophe stands before it."""
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) else text


def plain_json(text: str) -> str:
    """JSON text that says the same: unsafe characters, which stand in strings alone, are escaped."""
    if not text.isascii() or "\x7f" in text:
        text = _NOT_IN_JSON.sub(lambda found: _escaped(found[0]), text)
    return text.replace("##", "\\u0023\\u0023") if "##" in text else text


#: As above, but for what structures JSON itself: line ends and tabs outside of strings.
_NOT_IN_JSON = re.compile(_UNSAFE.pattern.replace("\x00-\x1f", ""))


def _escaped(character: str) -> str:
    code = ord(character)
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


def utf8(text: str) -> str:
    """Text that can be written as UTF-8: a byte of a file's name that is not is shown as `\\xff`."""
    return _SURROGATE.sub(lambda found: _byte(ord(found[0])), text)


_SURROGATE = re.compile("[\ud800-\udfff]")


def _byte(code: int) -> str:
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"

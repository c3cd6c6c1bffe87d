"""Small files of known type, written from a seed: the same bytes on every machine.

No compressor and no image library takes part, because their output differs between versions: text
comes from templates, binary formats are written field by field with noise as their payload.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Rng = np.random.RandomState  # numpy promises that its stream never changes


class _Template(NamedTuple):
    """A text format: opening lines, pieces to choose from, closing lines."""

    head: str
    pieces: tuple[str, ...]
    tail: str = ""


_NAMES = (
    "index total buffer widget account order session signal matrix report vector cursor packet "
    "window record branch client device engine filter groups handle invoice journal keyword layer "
    "metric number option parser queue result sample table update value worker"
)
_NOUNS = tuple(_NAMES.split())

# In the pieces $a, $b and $c become names, $n and $m numbers.
_TEXTS = {
    "python": _Template(
        "import os\nfrom pathlib import Path\n\n",
        (
            "def $a($b, $c=None):\n    if $c is None:\n        return [$b]\n    return $b + $c\n\n",
            "class $a:\n    def __init__(self, $b):\n        self.$b = $b\n\n",
            "for $a in range($n):\n    print(f'{$a}: {$b[$a]}')\n\n",
            "with open('$a.txt') as $b:\n    $c = $b.read().split()\n\n",
        ),
    ),
    "c": _Template(
        "#include <stdio.h>\n#include <stdlib.h>\n\n",
        (
            "static int $a(const char *$b, size_t $c)\n{\n\treturn $b[$c] + $n;\n}\n\n",
            "struct $a {\n\tunsigned int $b;\n\tstruct $a *next;\n};\n\n",
            "#define $a_MAX $n\n\n",
            "void $a(int *$b)\n{\n\tfor (int i = 0; i < $n; i++)\n\t\t$b[i] = $m;\n}\n\n",
        ),
    ),
    "java": _Template(
        "package org.example.$a;\n\nimport java.util.List;\n\npublic class Main {\n",
        (
            "    private final int $a = $n;\n\n",
            "    public List<String> $a(String $b) {\n        return List.of($b);\n    }\n\n",
            "    @Override\n    public int hashCode() {\n        return $a * $n;\n    }\n\n",
        ),
        "}\n",
    ),
    "javascript": _Template(
        "'use strict';\nconst $a = require('./$b');\n\n",
        (
            "function $a($b) {\n  return $b.map((x) => x * $n);\n}\n\n",
            "const $a = async () => {\n  const $b = await fetch('/$c');\n  return $b.json();\n};\n\n",
            "module.exports.$a = { $b: $n, $c: '$a' };\n\n",
            "document.getElementById('$a').addEventListener('click', () => $b());\n\n",
        ),
    ),
    "go": _Template(
        'package main\n\nimport (\n\t"fmt"\n\t"os"\n)\n\n',
        (
            "func $a($b []int) (int, error) {\n\treturn len($b) + $n, nil\n}\n\n",
            "type $a struct {\n\t$b string\n\t$c int64\n}\n\n",
            'if err := $a($n); err != nil {\n\tfmt.Fprintln(os.Stderr, "$b:", err)\n}\n\n',
        ),
    ),
    "rust": _Template(
        "use std::collections::HashMap;\n\n",
        (
            "fn $a($b: &str) -> Option<u32> {\n    $b.parse().ok()\n}\n\n",
            "#[derive(Debug, Clone)]\npub struct $a {\n    $b: Vec<u8>,\n}\n\n",
            "impl $a {\n    pub fn $b(&self) -> usize {\n        self.$c.len() + $n\n    }\n}\n\n",
        ),
    ),
    "shell": _Template(
        "#!/bin/sh\nset -eu\n\n",
        (
            'if [ -f "$a.conf" ]; then\n    . "./$a.conf"\nfi\n\n',
            'for $a in *.log; do\n    gzip -9 "$$a"\ndone\n\n',
            "$a() {\n    echo \"$$1\" | sed 's/$b/$c/g'\n}\n\n",
        ),
    ),
    "html": _Template(
        "<!DOCTYPE html>\n<html>\n<head><title>$a</title></head>\n<body>\n",
        (
            '<div class="$a"><p>The $b of the $c.</p></div>\n',
            '<ul>\n  <li><a href="/$a/$n">$b</a></li>\n</ul>\n',
            "<table><tr><td>$a</td><td>$n</td></tr></table>\n",
        ),
        "</body>\n</html>\n",
    ),
    "xml": _Template(
        '<?xml version="1.0" encoding="UTF-8"?>\n<$a>\n',
        (
            '  <item id="$n"><name>$a</name><value>$m</value></item>\n',
            '  <$b key="$c">$n</$b>\n',
        ),
        "</$a>\n",
    ),
    "css": _Template(
        "",
        (
            ".$a .$b {\n  margin: $npx auto;\n  color: #333;\n}\n\n",
            "#$a:hover {\n  background-color: rgba(0, 0, 0, 0.5);\n  width: $n%;\n}\n\n",
            "@media (max-width: $npx) {\n  .$a { display: none; }\n}\n\n",
        ),
    ),
    "json": _Template(
        '{\n  "$a": {"id": $n, "name": "$b"},\n  "items": [\n',
        (
            '    {"$a": "$b", "$c": $n, "active": true},\n',
            '    {"$a": [$n, $m], "$b": null},\n',
        ),
        '    {"last": true}\n  ]\n}\n',
    ),
    "yaml": _Template(
        "---\nversion: $n\n",
        (
            "$a:\n  $b: $n\n  $c:\n    - first\n    - second\n",
            "$a:\n  - name: $b\n    value: '$n'\n",
        ),
    ),
    "toml": _Template(
        '[package]\nname = "$a"\nversion = "0.$n.1"\n\n',
        (
            '[$a.$b]\n$c = $n\nenabled = true\n\n[dependencies]\n$b = "$n.$m"\n\n',
            '[[$a]]\nname = "$b"\npaths = ["$c", "lib"]\n\n',
        ),
    ),
    "ini": _Template(
        "; settings\n",
        (
            "[$a]\n$b=$n\n$c=yes\n\n",
            "[$a]\npath = C:\\$b\\$c.dll\ntimeout = $n\n\n",
        ),
    ),
    "csv": _Template(
        "id,name,$a,$b\n",
        ("$n,$a,$m,0.$n\n", '$n,"$a, $b",$m,1.$m\n'),
    ),
    "markdown": _Template(
        "# The $a of $b\n\n",
        (
            "## $a\n\nThe *$b* is a [link](https://example.org/$c) with `$a`.\n\n",
            "- the **$a**\n- the $b\n\n```sh\n./$c --$a $n\n```\n\n",
        ),
    ),
    "sql": _Template(
        "",
        (
            "CREATE TABLE $a (\n  id INTEGER PRIMARY KEY,\n  $b VARCHAR($n) NOT NULL\n);\n\n",
            "INSERT INTO $a ($b, $c) VALUES ($n, '$a');\n",
            "SELECT $a, COUNT(*) FROM $b WHERE $c > $n GROUP BY $a ORDER BY $b DESC;\n\n",
        ),
    ),
}


def _text(label: str) -> Callable[[Rng], bytes]:
    template = _TEXTS[label]

    def write(rng: Rng) -> bytes:
        pieces = [template.pieces[rng.randint(len(template.pieces))] for _ in range(12)]
        parts = [_filled(part, rng) for part in (template.head, *pieces, template.tail)]
        return "".join(parts).encode()

    return write


def _filled(template: str, rng: Rng) -> str:
    """$a, $b, $c replaced by names, $n and $m by numbers; $$ stays a dollar sign."""
    values = {key: _NOUNS[rng.randint(len(_NOUNS))] for key in "abc"}
    values |= {key: str(rng.randint(2, 900)) for key in "nm"}
    halves = template.split("$$")
    for key, value in values.items():
        halves = [half.replace(f"${key}", value) for half in halves]
    return "$".join(halves)


def _noise(rng: Rng, size: int) -> bytes:
    return bytes(rng.randint(0, 256, size).astype(np.uint8))


def _gzip(rng: Rng) -> bytes:
    name = _NOUNS[rng.randint(len(_NOUNS))].encode() + b".txt\0"
    return b"\x1f\x8b\x08\x08" + _noise(rng, 4) + b"\0\x03" + name + _noise(rng, 1500)


def _zip(rng: Rng) -> bytes:
    """Stored members and a central directory (PKWARE APPNOTE 6.3.3, sections 4.3.7 to 4.3.16)."""
    body, directory = b"", b""
    for _member in range(3):
        name, data = _NOUNS[rng.randint(len(_NOUNS))].encode() + b".txt", _noise(rng, 400)
        facts = struct.pack(
            "<5H3I2H", 20, 0, 0, 0, 0x5921, zlib.crc32(data), len(data), len(data), len(name), 0
        )
        directory += b"PK\x01\x02\x14\x00" + facts + bytes(10) + struct.pack("<I", len(body))
        directory += name
        body += b"PK\x03\x04" + facts + name + data
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 3, 3, len(directory), len(body), 0)
    return body + directory + end


def _tar(rng: Rng) -> bytes:
    name = f"{_NOUNS[rng.randint(len(_NOUNS))]}.txt".encode()
    data = _text("markdown")(rng)
    header = bytearray(512)
    header[: len(name)] = name
    fields = ("0000644", "0001750", "0001750", f"{len(data):011o}", "14000000000")
    header[100:148] = "".join(f"{field}\0" for field in fields).encode()
    header[148:157] = b"        0"
    header[257:265] = b"ustar\x0000"
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return bytes(header) + data + bytes(-len(data) % 512) + bytes(1024)


def _png(rng: Rng) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    size = struct.pack(">2I5B", rng.randint(16, 999), rng.randint(16, 999), 8, 2, 0, 0, 0)
    pixels = b"\x78\x9c" + _noise(rng, 1400)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def _gif(rng: Rng) -> bytes:
    size = struct.pack("<2H", rng.randint(16, 999), rng.randint(16, 999))
    head = b"GIF89a" + size + b"\xf7\0\0" + _noise(rng, 768)
    return head + b"\x2c\0\0\0\0" + size + b"\0\x08\xff" + _noise(rng, 255) + b"\0\x3b"


def _bmp(rng: Rng) -> bytes:
    side = int(rng.randint(16, 24))
    pixels = _noise(rng, side * side * 4)
    head = struct.pack("<2sIHHI", b"BM", 54 + len(pixels), 0, 0, 54)
    return head + struct.pack("<IiiHHIIiiII", 40, side, side, 1, 32, 0, 0, 0, 0, 0, 0) + pixels


def _wav(rng: Rng) -> bytes:
    rate = (8000, 16000, 44100)[rng.randint(3)]
    data = np.round(rng.normal(0, 4000, 900)).clip(-32768, 32767).astype("<i2").tobytes()
    facts = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16)
    body = b"WAVE" + facts + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _pdf(rng: Rng) -> bytes:
    objects = "".join(
        f"{number} 0 obj\n<< /Type /Page /Parent 1 0 R /Length {rng.randint(9, 900)} >>\n"
        f"stream\nBT /F1 12 Tf ({_NOUNS[rng.randint(len(_NOUNS))]}) Tj ET\nendstream\nendobj\n"
        for number in range(1, 9)
    )
    trailer = f"trailer\n<< /Size 9 /Root 1 0 R >>\nstartxref\n{len(objects)}\n%%EOF\n"
    return (
        f"%PDF-1.{rng.randint(3, 8)}\n".encode()
        + b"%\xe2\xe3\xcf\xd3\n"
        + (objects + trailer).encode()
    )


def _elf(rng: Rng) -> bytes:
    """An x86-64 shared object's header and program headers (System V ABI), then noise."""
    entry, sections = int(rng.randint(0x1000, 0x9000)), int(rng.randint(0x3000, 0x90000))
    head = struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, entry, 64, sections, 0, 64, 56, 4, 64, 29, 28)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, 0x2000, 0x2000, 0x1000)
    names = (
        b"\0.symtab\0.strtab\0.shstrtab\0.note.gnu.build-id\0.gnu.hash\0.dynsym\0.dynstr\0.text\0"
    )
    return (
        b"\x7fELF\x02\x01\x01" + bytes(9) + head + load * 4 + _noise(rng, 900) + names + bytes(400)
    )


def _midi(rng: Rng) -> bytes:
    events = b"".join(
        bytes([0x60, 0x90, note, 64, 0x60, 0x80, note, 0]) for note in rng.randint(40, 80, 60)
    )
    track = b"\0\xff\x51\x03\x07\xa1\x20" + events + b"\0\xff\x2f\0"
    return b"MThd\0\0\0\x06\0\0\0\x01\0\x60MTrk" + struct.pack(">I", len(track)) + track


def _npy(rng: Rng) -> bytes:
    """Format 1.0 of numpy.lib.format."""
    values = rng.normal(0, 1, int(rng.randint(60, 200))).astype("<f4")
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({values.size},), }}"
    return (
        b"\x93NUMPY\x01\0"
        + struct.pack("<H", 118)
        + head.ljust(117).encode()
        + b"\n"
        + (values.tobytes())
    )


_BINARIES: dict[str, Callable[[Rng], bytes]] = {
    "gzip": _gzip,
    "zip": _zip,
    "tar": _tar,
    "png": _png,
    "gif": _gif,
    "bmp": _bmp,
    "wav": _wav,
    "pdf": _pdf,
    "elf": _elf,
    "midi": _midi,
    "npy": _npy,
}

#: Every type that can be written, in a fixed order that mixes text and binary.
LABELS = tuple(sorted([*_TEXTS, *_BINARIES]))


def write_file(label: str, seed: int) -> bytes:
    """A file of the type, about 500 to 3,000 bytes."""
    rng = Rng(seed)
    return (_BINARIES.get(label) or _text(label))(rng)

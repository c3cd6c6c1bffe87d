"""What a definition may hold, and how much: every limit is looked at before the work is done."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgebench.definitions.device_inventory import load_devices
from edgebench.definitions.workload_loader import load_workload
from edgebench.definitions.yaml_reader import MAX_FILE_BYTES, parse_yaml, read_yaml
from edgebench.errors import EdgebenchError, SpecError, UsageError
from edgebench.gate.policy import load_policy

SHIPPED = Path(__file__).parents[2] / "workloads"
READERS: tuple[Callable[[Path], Any], ...] = (load_workload, load_devices, load_policy)

#: Values that ended in an exception of Python's, or in a text that nothing can write.
VALUES = {
    "9" * 5000: "is too large",
    "-" + "1" * 5000: "is too large",
    "0x" + "f" * 100: "is too large",
    "9223372036854775808": "is too large",
    "0" + "7" * 5000: "YAML 1.1 reads",
    "1" * 400 + ".0e+999": "is too large",
    "9" * 5000 + "e-1": "YAML 1.1 reads",
    '"a\\0b"': "U+0000",
    '"\\x1b[2J"': "U+001B",
    '"\\x9b2J"': "U+009B",
}


@pytest.mark.parametrize("loader", [yaml.SafeLoader, getattr(yaml, "CSafeLoader", None)])
@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{value[:12]} {len(value)}")
def test_a_value_that_cannot_be_is_an_error_of_its_place(
    value: str, loader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if loader is None:
        pytest.skip("PyYAML without libyaml")
    monkeypatch.setattr("edgebench.definitions.yaml_reader._LOADER", loader)
    with pytest.raises(SpecError) as caught:
        parse_yaml(f"a: 1\nb: {value}\n", "x.yaml")
    assert str(caught.value).startswith("x.yaml:2:4: b: ")
    assert VALUES[value] in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_lone_surrogate_is_refused_by_both_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    for loader in {yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)}:
        monkeypatch.setattr("edgebench.definitions.yaml_reader._LOADER", loader)
        with pytest.raises(SpecError):
            parse_yaml('a: "\\ud800"', "x.yaml")


def test_the_numbers_of_64_bits_are_taken() -> None:
    text = "a: 9223372036854775807\nb: -9223372036854775807\nc: 0x7fffffffffffffff\nd: 1.5e+300"
    largest = 2**63 - 1
    assert parse_yaml(text, "x").value == {"a": largest, "b": -largest, "c": largest, "d": 1.5e300}


@pytest.mark.parametrize("read", READERS)
def test_a_large_file_is_refused_unread(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    file = tmp_path / "large.yaml"
    with file.open("wb") as out:
        out.truncate(100 << 20)
    with pytest.raises(
        UsageError, match=r"large\.yaml cannot be read: it has 100\.0 MiB, and at most 1"
    ):
        read(file)
    assert 10 * max(path.stat().st_size for path in SHIPPED.glob("*.yaml")) < MAX_FILE_BYTES


@pytest.mark.parametrize("read", READERS)
def test_a_pipe_is_not_waited_for(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match=r"pipe\.yaml cannot be read: it is a pipe and not a file"):
        read(pipe)


@pytest.mark.parametrize(
    "text", ["[" * 5000, "{a: " * 5000, "- " * 5000, "a: &a [*a]", "&a [" + "*a, " * 10 + "]"]
)
def test_nesting_without_end_is_an_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "deep.yaml"
    file.write_text(text)
    with pytest.raises(EdgebenchError):
        read_yaml(file)


def test_axes_that_multiply_beyond_all_use_are_refused_before_they_are_made(tmp_path: Path) -> None:
    text = (SHIPPED / "image-classification.yaml").read_text()
    start = text.index("  axes:\n") + len("  axes:\n")
    axes = "".join(f"    axis{n}: [{', '.join(map(str, range(100)))}]\n" for n in range(9))
    file = tmp_path / "image-classification.yaml"
    file.write_text(text[:start] + axes + text[start:])
    with pytest.raises(SpecError, match=r"matrix: up to [0-9]+ variants, and 10000 are allowed"):
        load_workload(file)


def test_axes_of_a_policy_that_multiply_beyond_all_use_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "gate.yaml"
    axes = "".join(f"      axis{n}: [{', '.join(map(str, range(100)))}]\n" for n in range(9))
    file.write_text(f"base: a\nhead: b\ncells:\n  - workload: w\n    set:\n{axes}")
    with pytest.raises(SpecError, match=r"cells\[0\]\.set: 10+ variants, and 10000 are allowed"):
        load_policy(file)

"""README.md and docs/: links lead somewhere, files that are named exist, and every command line is one.

A command line is parsed by the command that it names, so that an option that was renamed or a choice that is
gone is found on every page. Those that read results are also executed, on the reference results.
"""

from __future__ import annotations

import importlib.util
import itertools
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from edgebench.cli import cli
from tests.command_lines import before_the_shell, parse
from tests.readme import PAGES, ROOT, renewed

_OTHERS = ["CONTRIBUTING.md", "ARCHITECTURE.md", "SECURITY.md", "CHANGELOG.md"]
ALL_PAGES = [*PAGES, *(ROOT / name for name in _OTHERS)]
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_PRINTED = re.compile(r"<!-- begin: .*?<!-- end -->", re.DOTALL)
#: Commands that take result files alone and are done in a second.
_READERS = {"show", "frontier", "pick", "compare", "export", "query", "scaling"}
_RESULTS = ROOT / "results" / "reference" / "quick-linux-amd-2c.jsonl"
#: What stands for result files on a page.
_RESULTS_WORD = re.compile(r"(RESULTS|FILE|[A-Z])(\.\.\.)?|results/?|[\w./-]+\.(jsonl|parquet)")
_REASONING = ROOT / "results" / "reference" / "smollm2-reasoning-linux-x86-2c.jsonl"


@dataclass(frozen=True)
class Line:
    """A command line and the page that shows it."""

    page: str
    text: str

    @property
    def words(self) -> list[str]:
        return [word for word in shlex.split(self.text, comments=True) if word != "..."]

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _shown(page: Path) -> Iterator[str]:
    """Lines of code blocks, continued ones joined, and code within sentences."""
    text = _PRINTED.sub("", page.read_text(encoding="utf-8"))
    for language, block in _FENCED.findall(text):
        if language not in ("python", "json"):
            yield from block.replace("\\\n", " ").splitlines()
    yield from (code.replace("\n", " ") for code in re.findall(r"`([^`]+)`", _FENCED.sub("", text)))


def _lines(program: str) -> list[Line]:
    """Every command line of a program in every page."""
    pattern = re.compile(rf"^\s*(?:- run: |\$ )?(?:sudo )?({re.escape(program)} .*)$")
    return sorted(
        {
            Line(_name(page), match[1])
            for page in ALL_PAGES
            if page.name != "CHANGELOG.md"  # it tells what was
            for shown in _shown(page)
            if (match := pattern.match(shown))
        },
        key=str,
    )


EDGEBENCH = _lines("edgebench")


# --- what edgebench prints


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_generated_blocks_of_pages_are_up_to_date(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert renewed(text) == text, "python -m tests.readme renews it"


# --- command lines


def _alternatives(words: list[str]) -> Iterator[list[str]]:
    """A usage line such as `list workloads|backends [--format json]`, written out."""
    plain = [word.strip("[]") if re.fullmatch(r"\[?[\w.|=-]+\]?", word) else word for word in words]
    choices = [word.split("|") if re.fullmatch(r"[\w|-]+", word) else [word] for word in plain]
    yield from map(list, itertools.product(*choices))


@pytest.mark.parametrize("line", EDGEBENCH, ids=str)
def test_every_command_line_is_one_of_this_version(line: Line) -> None:
    for words in _alternatives(line.words[1:]):
        parse(before_the_shell(words))


def test_a_wrong_command_line_is_found() -> None:
    for wrong in (
        "runn",
        "run --no-such-option",
        "show --format parquet x",
        "list nothing",
        "doctor x",
    ):
        with pytest.raises((click.ClickException, AssertionError)):
            parse(shlex.split(wrong))


def _as_executed(line: Line) -> list[str]:
    """The command with the reference results in the place of those that the page names."""
    results = str(_REASONING if line.words[1] == "scaling" else _RESULTS)
    written = line.words[line.words.index("-o") + 1] if "-o" in line.words else None
    names = {"NAME": "image-classification"}
    return [
        results if _RESULTS_WORD.fullmatch(word) and word != written else names.get(word, word)
        for word in line.words[1:]
    ]


def _is_executable(line: Line) -> bool:
    words = line.words
    usage = {"SQL", "FILE|DIR...", "TOOL"} & set(words) or any("[" in word for word in words[1:])
    reads = any(_RESULTS_WORD.fullmatch(word) for word in words[2:])
    return reads and words[1] in _READERS and not usage


@pytest.mark.parametrize("line", [line for line in EDGEBENCH if _is_executable(line)], ids=str)
def test_command_lines_that_read_results_do_so(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, _as_executed(line))
    verdicts = {1} if line.words[1] == "pick" else set()
    assert result.exit_code in {0, *verdicts}, result.output + str(result.exception)


@pytest.mark.parametrize("line", _lines("make"), ids=str)
def test_every_target_of_make_exists(line: Line) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    targets = [word for word in line.words[1:] if "=" not in word]
    assert set(targets) <= set(phony.split())


@pytest.mark.parametrize("line", [*_lines("python"), *_lines("python3")], ids=str)
def test_every_module_and_script_of_python_exists(line: Line) -> None:
    match line.words[1:]:
        case ["-m", module, *_]:
            assert importlib.util.find_spec(module), module
        case [script, *_] if script != "-m":
            assert (ROOT / script).is_file()


@pytest.mark.parametrize("line", _lines("pip"), ids=str)
def test_every_extra_of_pip_exists(line: Line) -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for extras in re.findall(r"(?:edgebench|\.)\[([\w,-]+)\]", line.text):
        for extra in set(extras.split(",")) - {"NAME"}:
            assert re.search(rf"^{re.escape(extra)} = \[", project, re.MULTILINE), extra


# --- links and names


def _slug(heading: str) -> str:
    """The anchor that GitHub and the site give to a heading."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")


def _anchors(page: Path) -> set[str]:
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    return {_slug(heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", ALL_PAGES, ids=_name)
def test_every_link_leads_to_a_file_and_a_heading_of_it(page: Path) -> None:
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]*))?\)", text):
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), f"{target} is not a file"
        assert not anchor or anchor in _anchors(there), f"{target} has no heading #{anchor}"


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = set(re.findall(r": ([\w/-]+\.md)$", text, re.MULTILINE))
    docs = {_name(page).removeprefix("docs/") for page in PAGES} - {"README.md"}
    assert docs <= named


def test_every_source_file_that_a_page_names_exists() -> None:
    places = [
        ROOT,
        ROOT / "edgebench",
        ROOT / "edgebench" / "probes",
        ROOT / "edgebench" / "backends",
    ]
    missing = [
        f"{_name(page)}: {name}"
        for page in ALL_PAGES
        if page.name != "CHANGELOG.md"
        for name in re.findall(
            r"`((?:\w+/)+[a-z_]\w*\.(?:py|yaml))`", page.read_text(encoding="utf-8")
        )
        if not any((place / name).exists() for place in places)
    ]
    assert missing == []


def test_completion_of_the_shell_is_documented_for_every_shell_that_click_knows() -> None:
    text = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    assert all(f"_EDGEBENCH_COMPLETE={shell}_source" in text for shell in ("bash", "zsh", "fish"))

"""The files of `ab` and `gate` (`--junit`, `--markdown`, `--github`): whichever way a command ends, they say
how it ended, and never how an earlier one did."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgebench.cli.shared.error_to_exit_code import as_told
from edgebench.errors import EdgebenchError, StoreError

if TYPE_CHECKING:
    from edgebench.ab_test.ab_report_types import GateReport

_FILES = ("junit", "markdown")
#: Stands near the beginning of every file of ours.
_SIGN = b"edgebench gate"


class VerdictCommand(click.Command):
    """A command that writes its report files even if its options are wrong."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> click.Context:
        words = list(args)
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            lenient = {"resilient_parsing": True, "ignore_unknown_options": True}
            context = super().make_context(
                info_name, words, parent, allow_extra_args=True, **lenient, **extra
            )
            with contextlib.suppress(EdgebenchError):
                write_files(without_verdict(error), context.params)
            raise


def concluded(params: Mapping[str, Any], judge: Callable[[], GateReport]) -> GateReport:
    """Returns the report of `judge`. If it raises, the files say why before the error is raised again."""
    try:
        remove_earlier(params)
        return judge()
    except BaseException as error:
        with contextlib.suppress(EdgebenchError):
            write_files(without_verdict(error), params)
        raise


def remove_earlier(params: Mapping[str, Any]) -> None:
    """Removes what an earlier command has written there. Raises StoreError where that cannot be."""
    for path in (Path(params[option]) for option in _FILES if params.get(option)):
        try:
            _refuse_foreign(path)
            if path.is_file():
                path.resolve().unlink()
        except OSError as error:
            raise StoreError(f"{path}: cannot be replaced: {error.strerror}") from None


def _refuse_foreign(path: Path) -> None:
    """An option without its value takes the next word, which may be the file of results."""
    if not path.is_file():
        return
    try:
        with path.open("rb") as file:
            beginning = file.read(4096)
    except OSError as error:
        raise StoreError(f"{path}: cannot be replaced: {error.strerror}") from None
    if beginning and _SIGN not in beginning:
        raise StoreError(
            f"{path}: the file exists and was not written by `edgebench gate`",
            "name another file, or remove it",
        )


def write_files(report: GateReport, params: Mapping[str, Any]) -> None:
    """Writes all that was asked for. Raises StoreError for the first that could not be, after the others."""
    from edgebench.gate import github_actions
    from edgebench.gate.verdict_formats import write

    errors: list[StoreError] = []
    for option in _FILES:
        if params.get(option):
            try:
                _refuse_foreign(Path(params[option]))
                write(report, option, Path(params[option]))
            except StoreError as error:
                errors.append(error)
    if params.get("github"):
        try:
            github_actions.publish(report)
        except StoreError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def without_verdict(error: BaseException) -> GateReport:
    """The report of a command that ended by an error."""
    from edgebench.ab_test.ab_report_types import GateReport
    from edgebench.processes.signals import AGAIN, ended_by
    from edgebench.record import Reason

    if isinstance(error, click.ClickException):
        reason = Reason(code="error", message=error.format_message(), fix="see --help")
    elif isinstance(error, KeyboardInterrupt | click.Abort):
        by = ended_by(error) if isinstance(error, KeyboardInterrupt) else "interrupted"
        message = f"{by} before there was a verdict"
        reason = Reason(code="interrupted", message=message, fix=AGAIN)
    elif isinstance(error, Exception):
        told = as_told(error)
        reason = Reason(code="error", message=told.message, fix=told.fix)
    else:
        reason = Reason(code="error", message=f"{type(error).__name__}: {error}")
    return GateReport(verdict="invalid", cells=[], reasons=[reason])


def show(report: GateReport, params: Mapping[str, Any]) -> None:
    """Writes the files, then the report to stdout: the reader of that may be gone."""
    from edgebench.gate.verdict_formats import render

    unwritten: StoreError | None = None
    try:
        write_files(report, params)
    except StoreError as error:
        unwritten = error
    render(report, params["form"], sys.stdout)
    if unwritten is not None:
        raise unwritten

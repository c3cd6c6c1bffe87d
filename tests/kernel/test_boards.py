"""What edgebench makes of boards whose registers are known, through the kernel's own drivers: `make test-kernel`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.kernel.guest import jetson_checks, load_checks, pc_checks, pi_checks, thor_checks  # noqa: F401 - they register
from tests.kernel.guest.registry import CHECKS
from tests.kernel.kernel_image import HERE, is_built, require, require_to_boot
from tests.kernel.requirements import CannotRun

pytestmark = [pytest.mark.kernel, pytest.mark.slow]
_TOGETHER = 3
#: Boards whose checks take longest: first.
_LONG = ("unknown-board", "pc", "orin-nx")
CASES = [(board, check.__name__) for board, checks in sorted(CHECKS.items()) for check in checks]


@pytest.fixture(scope="session")
def booted(request: pytest.FixtureRequest) -> Callable[[str], dict[str, str]]:
    """The answers of a board, which boots once. Those that are asked boot three at a time: they mostly wait."""
    from concurrent.futures import Future, ThreadPoolExecutor

    from tests.kernel.boot import boot

    missing = _missing()
    if missing:
        pytest.skip(missing)
    chosen = {
        item.callspec.params["board"] for item in request.session.items if hasattr(item, "callspec")
    }
    wanted = sorted(
        chosen & set(CHECKS), key=lambda board: (board not in _LONG, -len(CHECKS[board]))
    )
    pool = ThreadPoolExecutor(_TOGETHER)
    running: dict[str, Future[dict[str, str]]] = {}

    def answers(board: str) -> dict[str, str]:
        if not running:
            running.update({each: pool.submit(boot, each) for each in wanted})
        try:
            return running[board].result()
        except CannotRun as why:
            pytest.skip(str(why))

    return answers


def _missing() -> str:
    """What keeps the boards from booting; empty where they can."""
    try:
        (require_to_boot if is_built() else require)()
    except CannotRun as why:
        return str(why)
    return "" if is_built() else "the kernel is not built: make test-kernel"


@pytest.mark.parametrize(("board", "check"), CASES)
def test_board(board: str, check: str, booted: Callable[[str], dict[str, str]]) -> None:
    found = booted(board)
    assert check in found, found.get("", "the board has no such check")
    assert found[check] == ""


def test_every_device_tree_has_checks_and_every_board_a_tree() -> None:
    assert {path.stem for path in (HERE / "boards").glob("*.dts")} == set(CHECKS)

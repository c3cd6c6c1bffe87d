"""fleet.yaml: what it may say, and one clear line with its place for what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgebench.errors import UsageError
from edgebench.fleet.fleet_file import check_address, chosen_boards, load_fleet

GOOD = """\
scheduler: tcp://127.0.0.1:8786
boards:
  - name: jetson-7
    ssh: user@jetson-7
    python: /opt/venv/bin/python
    cool_to_c: 55
  - name: pi-5
"""


def fleet(folder: Path, text: str) -> Path:
    path = folder / "fleet.yaml"
    path.write_text(text)
    return path


def refused(folder: Path, text: str) -> str:
    with pytest.raises(UsageError) as caught:
        load_fleet(fleet(folder, text))
    assert "\n" not in caught.value.message
    return caught.value.message


def test_boards_are_read_with_how_they_are_reached(tmp_path: Path) -> None:
    found = load_fleet(fleet(tmp_path, GOOD))
    assert [board.name for board in found.boards] == ["jetson-7", "pi-5"]
    assert found.boards[0].cool_to_c == 55
    assert [board.name for board in chosen_boards(found, ["pi-5"])] == ["pi-5"]


def test_unknown_board_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no board 'pi-4'; did you mean 'pi-5'"):
        chosen_boards(load_fleet(fleet(tmp_path, GOOD)), ["pi-4"])


def test_two_boards_of_one_name_are_refused_with_their_line(tmp_path: Path) -> None:
    message = refused(tmp_path, GOOD.replace("pi-5", "jetson-7"))
    assert "fleet.yaml:7:" in message
    assert "two boards of one name" in message


def test_board_that_is_in_no_inventory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "devices.yaml").write_text(
        "devices:\n  - {name: jetson-7, title: Orin, match: {board: '*Orin*'}}\n"
    )
    assert "'pi-5' is in no entry of devices.yaml" in refused(tmp_path, GOOD)


def test_tls_needs_certificates_and_unknown_keys_are_refused(tmp_path: Path) -> None:
    assert "needs certificates" in refused(tmp_path, GOOD.replace("tcp://127.0.0.1", "tls://desk"))
    assert "colour" in refused(tmp_path, GOOD + "colour: red\n")


@pytest.mark.parametrize(
    "address", ["tcp://0.0.0.0:8786", "tcp://desk:8786", "tcp://192.168.1.4:1"]
)
def test_nothing_listens_beyond_this_machine_without_tls(address: str) -> None:
    with pytest.raises(UsageError, match="open to the network without TLS"):
        check_address(address, insecure=False)
    check_address(address, insecure=True)
    check_address(address.replace("tcp", "tls"), insecure=False)


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:8786", "tcp://localhost:1", "tcp://[::1]:8786"]
)
def test_loopback_needs_no_tls(address: str) -> None:
    check_address(address, insecure=False)


@pytest.mark.parametrize(
    "address", ["desk:8786", "http://desk:1", "tls://desk", "tls://desk:x", ""]
)
def test_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="is not an address of a scheduler"):
        check_address(address, insecure=True)

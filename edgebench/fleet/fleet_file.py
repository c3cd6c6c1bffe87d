"""Parses the fleet file, `fleet.yaml`, which says what boards there are and how they are reached."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from edgebench.definitions.device_inventory import FILE_NAME as DEVICES_FILE
from edgebench.definitions.device_inventory import load_devices
from edgebench.definitions.typed_values import convert
from edgebench.definitions.workload import Name, Spec
from edgebench.definitions.yaml_reader import Document, raise_errors, read_yaml
from edgebench.errors import SpecError, UsageError
from edgebench.text.did_you_mean import did_you_mean

PORT: Final = 8786


class Board(Spec, frozen=True, kw_only=True):
    """One board. Its name is that of its worker, and of the folder of its results."""

    name: Name
    ssh: str | None = None  # USER@HOST, for `edgebench fleet up`
    python: str = "python3"  # on the board: where edgebench[fleet] is installed
    cool_to_c: float | None = None  # before each process of a cell
    notes: str = ""


class Fleet(Spec, frozen=True, kw_only=True):
    """The content of fleet.yaml."""

    scheduler: str  # tls://HOST:PORT, or tcp://127.0.0.1:PORT
    boards: list[Board]
    certs: str | None = None  # folder of `edgebench fleet certs`, relative to this file
    devices: str | None = None  # devices.yaml, relative to this file; all boards stand in it
    insecure: bool = False  # no TLS beyond this machine


def load_fleet(path: Path) -> Fleet:
    """Raises SpecError with file, line and column for what it may not say, UsageError where it cannot be read."""
    document = read_yaml(path)
    fleet = convert(document, Fleet)
    raise_errors(list(_impossible(fleet, document, path.parent)))
    return fleet


def _impossible(fleet: Fleet, document: Document, folder: Path) -> Iterator[SpecError]:
    try:
        check_address(fleet.scheduler, fleet.insecure)
    except UsageError as error:
        yield document.error(("scheduler",), error.message, error.fix)
    if fleet.scheduler.startswith("tls:") and fleet.certs is None:
        message = "a tls scheduler needs certificates"
        yield document.error(("scheduler",), message, "certs: FOLDER of `edgebench fleet certs`")
    if not fleet.boards:
        yield document.error(("boards",), "there are no boards", "give at least one")
    names = [board.name for board in fleet.boards]
    known = _known_devices(fleet, folder)
    for index, name in enumerate(names):
        place = ("boards", index, "name")
        if name in names[:index]:
            yield document.error(place, f"{name!r} twice: two boards of one name", "rename one")
        elif known is not None and name not in known:
            message = f"{name!r} is in no entry of {DEVICES_FILE}{did_you_mean(name, known)}"
            yield document.error(place, message, "add an entry, or take the board out")


def _known_devices(fleet: Fleet, folder: Path) -> list[str] | None:
    """Names of the user's inventory; None where there is none."""
    path = inventory_path(fleet, folder)
    return None if path is None else [device.name for device in load_devices(path)]


def inventory_path(fleet: Fleet, folder: Path) -> Path | None:
    """The inventory of a fleet file in this folder: the one that it names, or the one beside it; None without any."""
    path = folder / (fleet.devices or DEVICES_FILE)
    return None if fleet.devices is None and not path.is_file() else path


def chosen_boards(fleet: Fleet, names: Sequence[str]) -> list[Board]:
    """Those of these names; all without any. Raises UsageError for a name that is none."""
    known = {board.name: board for board in fleet.boards}
    for name in names:
        if name not in known:
            raise UsageError(
                f"no board {name!r}{did_you_mean(name, known)}", f"boards are: {', '.join(known)}"
            )
    return [board for board in fleet.boards if not names or board.name in names]


def check_address(address: str, insecure: bool) -> None:
    """Raises UsageError for an address that is none, and for one that others could reach without TLS: whoever reaches a
    scheduler or a worker of Dask can run code there."""
    parts = urlsplit(address)
    try:
        whole = parts.scheme in ("tcp", "tls") and parts.hostname and parts.port
    except ValueError:
        whole = False
    if not whole:
        message = f"{address!r} is not an address of a scheduler"
        raise UsageError(message, f"write tls://HOST:{PORT}, or tcp://127.0.0.1:{PORT}")
    if parts.scheme == "tcp" and not insecure and not is_loopback(parts.hostname or ""):
        raise UsageError(
            f"{address} is open to the network without TLS",
            "`edgebench fleet certs` makes certificates for tls://; insecure: true, or --insecure, where "
            "everybody on the network may run code here",
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""Replaces the names that must not leave the machine: of its users, of hosts, of folders and volumes that hold either."""

from __future__ import annotations

import getpass
import json
import os
import platform
import re
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edgebench.probes import proc_files

_MIN_LENGTH = 2
#: Names that say nothing of anybody, and are words of other texts.
_PLAIN = {
    *("root", "user", "localhost", "runner", "ubuntu", "debian", "nvidia", "jetson", "raspberrypi"),
    *("admin", "host", "pi", "pc", "vm", "nobody"),
}
#: Variables that name the user; under sudo and doas the one who asked for root.
_USER_VARIABLES = ("SUDO_USER", "DOAS_USER", "LOGNAME", "USER", "USERNAME")
#: Folders whose next part is a user's name or a volume's, whoever it is.
_OWNED = re.compile(
    r"(/(?:run/media|media)/)[^/\s\"']+/[^/\s\"',:;)]+|(/(?:home|Users|media|mnt|Volumes)/)[^/\s\"',:;)]+"
)
#: A share of another host: `host:/folder` or `//host/folder`.
_SHARE = re.compile(r"(?:[^/:@\s]+@)?([^/:@\s]+):|//([^/\s]+)/")
#: Mount points that every system has.
_SYSTEM = re.compile(
    r"/(?:$|(?:boot|dev|etc|home|nix|opt|proc|root|run|snap|sys|tmp|usr|var)(?:/|$))"
)
_JSON = (".json", ".jsonl")


def secrets_here(root: Path = proc_files.LIVE) -> Sequence[tuple[str, str]]:
    """What is replaced, and by what: in every text that is packed."""
    folders = [(str(Path.home()), "~"), (str(Path.cwd()), "."), *_volumes(root)]
    if sys.prefix != sys.base_prefix:  # an environment of the user's own, and not /usr
        folders.append((sys.prefix, "PYTHON"))
    if not __file__.startswith((sys.prefix, sys.base_prefix)):  # a checkout
        folders.append((str(Path(__file__).parents[2]), "CHECKOUT"))
    hosts = [socket.gethostname(), socket.getfqdn(), platform.node()]
    hosts += _servers(root)
    hosts += [name.partition(".")[0] for name in hosts if not _is_address(name)]
    names = [*((name, "USER") for name in _users()), *((name, "HOST") for name in hosts)]
    named = [
        (name, stand_in)
        for name, stand_in in names
        if len(name) >= _MIN_LENGTH and name.lower() not in _PLAIN
    ]
    found = [*((path, stand_in) for path, stand_in in folders if path not in ("", "/")), *named]
    return list(dict.fromkeys(found))


def _users() -> Iterator[str]:
    """Names of whoever may have started this: the process's user, the one behind sudo, owners of its folders."""
    yield _user()
    yield from (os.environ.get(name, "") for name in _USER_VARIABLES)
    for folder in (Path.home(), Path.cwd(), Path(sys.prefix)):
        try:
            yield folder.owner()
        except (OSError, KeyError):  # not there, or no entry for its owner's number
            continue


def _volumes(root: Path) -> Iterator[tuple[str, str]]:
    """Where disks and shares are mounted that are no part of the system."""
    for source, target in _mounts(root):
        if (source.startswith("/dev/") or _SHARE.match(source)) and not _SYSTEM.match(target):
            yield target, "/VOLUME"


def _servers(root: Path) -> list[str]:
    """Hosts whose shares are mounted."""
    return [found[1] or found[2] for source, _ in _mounts(root) if (found := _SHARE.match(source))]


def _is_address(host: str) -> bool:
    """Whether it is an IPv4 address, whose parts are numbers that say nothing."""
    return host.replace(".", "").isdigit()


def _mounts(root: Path) -> list[tuple[str, str]]:
    """Source and mount point of each file system."""
    rows = (row.split() for row in (proc_files.read(root / "proc/self/mounts") or "").splitlines())
    return [(row[0], row[1].replace(r"\040", " ")) for row in rows if len(row) > 1]


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no entry for this user's number, as in some containers
        return ""


def scrubbed(text: str, secrets: Sequence[tuple[str, str]]) -> str:
    """The text with each secret replaced by what stands for it, where it is a whole word.

    Longer ones go first, since one may hold another. Names are found in upper and lower case. Whoever a home or a volume
    belongs to is replaced too.
    """
    for secret, stand_in in sorted(secrets, key=lambda pair: -len(pair[0])):
        start = "" if secret.startswith("/") else r"(?<![^\W_])"
        pattern = rf"{start}{re.escape(secret)}(?![^\W_])"
        text = re.sub(pattern, stand_in, text, flags=re.IGNORECASE)
    return _OWNED.sub(lambda found: (found[1] or found[2]) + "NAME", text)


def scrubbed_file(name: str, text: str, secrets: Sequence[tuple[str, str]]) -> str:
    """A text that is packed under a name. Of JSON values alone are replaced, whatever their escapes: fields stay readable."""
    if not name.endswith(_JSON):
        return scrubbed(text, secrets)
    lines = text.splitlines() if name.endswith(".jsonl") else [text]
    return "".join(_scrubbed_json(line, secrets) + "\n" for line in lines if line.strip())


def _scrubbed_json(text: str, secrets: Sequence[tuple[str, str]]) -> str:
    try:
        value = json.loads(text)
    except ValueError:  # cut short
        return scrubbed(text, secrets)
    return json.dumps(scrubbed_value(value, secrets), ensure_ascii=False)


def scrubbed_value(value: Any, secrets: Sequence[tuple[str, str]]) -> Any:
    """A value of JSON with every text in it scrubbed. A key is left, unless it is a path."""
    if isinstance(value, str):
        return scrubbed(value, secrets)
    if isinstance(value, list):
        return [scrubbed_value(each, secrets) for each in value]
    if isinstance(value, dict):
        return {
            scrubbed(key, secrets) if "/" in key else key: scrubbed_value(each, secrets)
            for key, each in value.items()
        }
    return value

"""What `edgebench selfcheck --out` packs names nobody: planted names in every place where this machine has one."""

from __future__ import annotations

import json
import platform
import socket
import sys
import zipfile
from pathlib import Path

import pytest

from edgebench.selfcheck import privacy
from edgebench.selfcheck.check_file import Answer, CheckFile, read_check_file
from edgebench.selfcheck.pack import pack
from edgebench.testing.trees import write_tree

USER, BEHIND_SUDO, OWNER, HOST = "zora", "j\u00f6rg", "mira", "ZorasBoard"
MOUNTS = """/dev/vda / ext4 rw 0 0
/dev/vda /etc/hosts ext4 rw 0 0
proc /proc proc rw 0 0
/dev/sdb1 /srv/zoras\\040disk ext4 rw 0 0
vault.corp.example:/export /srv/share nfs rw 0 0
//filer/team /srv/team cifs rw 0 0
192.168.1.5:/export /srv/raw nfs rw 0 0
mona@attic:/export /srv/attic fuse.sshfs rw 0 0
mona@cellar: /srv/cellar fuse.sshfs rw 0 0
"""


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, str]]:
    """Those of a made-up machine."""
    monkeypatch.setenv("HOME", f"/data/people/{USER}")
    monkeypatch.setenv("SUDO_USER", BEHIND_SUDO)
    monkeypatch.setattr(privacy, "_user", lambda: USER)
    monkeypatch.setattr(Path, "owner", lambda _: OWNER)
    monkeypatch.setattr(Path, "cwd", lambda: Path("/data/jobs/acme"))
    monkeypatch.setattr(sys, "prefix", "/data/envs/acme")
    monkeypatch.setattr(privacy, "__file__", "/data/src/acme/edgebench/selfcheck/privacy.py")
    monkeypatch.setattr(socket, "gethostname", lambda: HOST)
    monkeypatch.setattr(socket, "getfqdn", lambda: f"{HOST}.corp.example")
    monkeypatch.setattr(platform, "node", lambda: f"{HOST}.local")
    root = write_tree(tmp_path, {"proc/self/mounts": MOUNTS})
    return list(privacy.secrets_here(root))


@pytest.mark.parametrize(
    ("text", "packed"),
    [
        (f"/data/people/{USER}/x by {USER} on {HOST}.corp.example", "~/x by USER on HOST"),
        ("/data/people/zoraster stays", "/data/people/zoraster stays"),
        ("zorasboard.local, ZORA", "HOST, USER"),
        ("/data/jobs/acme/results and /data/envs/acme/bin/python", "./results and PYTHON/bin/python"),
        ("/home/mona/.cache, /Users/Mona/x", "/home/NAME/.cache, /Users/NAME/x"),
        ("/media/mona/STICK/x /run/media/mona/STICK, /mnt/mona", "/media/NAME/x /run/media/NAME, /mnt/NAME"),
        ("/srv/zoras disk/x, /srv/share", "/VOLUME/x, /VOLUME"),
        ("filer, vault and vault.corp.example", "HOST, HOST and HOST"),
        ("192.168.1.5 of 192 shapes, /srv/raw/x", "HOST of 192 shapes, /VOLUME/x"),
        ("attic, cellar, /srv/cellar/x", "HOST, HOST, /VOLUME/x"),
        (f"/tmp/pytest-of-{OWNER}/a, {BEHIND_SUDO}_1, miracle", "/tmp/pytest-of-USER/a, USER_1, miracle"),
        ("/data/src/acme/backends/ort.py:7", "CHECKOUT/backends/ort.py:7"),
        ("/etc/hosts, /proc/cpuinfo", "/etc/hosts, /proc/cpuinfo"),
    ],
)  # fmt: skip
def test_a_name_is_replaced_wherever_it_stands(
    text: str, packed: str, secrets: list[tuple[str, str]]
) -> None:
    assert privacy.scrubbed(text, secrets) == packed


def test_the_archive_names_nobody_and_can_still_be_read(
    tmp_path: Path, secrets: list[tuple[str, str]]
) -> None:
    told = f"{USER} {BEHIND_SUDO} {OWNER} {HOST} /data/people/{USER} /data/jobs/acme /data/envs/acme /srv/zoras disk filer"
    answer = Answer(claim="energy.rapl", status="ok", detail=told)
    facts = {"board": told, "os": [told], "more": {told: told}}
    words = {"machine": told, "date": "2026-12-01", "edgebench": "0.1.0"}
    file = CheckFile(device="real", facts=facts, answers=(answer,), **words)
    texts = {
        "kit.txt": told,
        "doctor.json": json.dumps({"zora": told, "/data/jobs/acme": 1}),
        "quick.jsonl": f"{json.dumps([told])}\n{json.dumps([1])}\n",
        "cut.json": json.dumps({"a": told}, ensure_ascii=False)[:-1],
        "empty.txt": "",
    }
    pack(tmp_path / "check.zip", file, texts, secrets)
    with zipfile.ZipFile(tmp_path / "check.zip") as archive:
        packed = {name: archive.read(name).decode() for name in archive.namelist()}
    assert list(packed) == ["selfcheck.json", "kit.txt", "doctor.json", "quick.jsonl", "cut.json"]
    assert list(json.loads(packed["doctor.json"])) == ["zora", "."]  # a field, and a path
    for name, text in packed.items():
        for planted in (BEHIND_SUDO, "j\\u00f6rg", OWNER, HOST, "acme", "zoras", "filer"):
            assert planted not in text, name
    assert len(packed["quick.jsonl"].splitlines()) == 2


def test_a_user_named_like_a_backend_leaves_the_claims_as_they_are(tmp_path: Path) -> None:
    answer = Answer(claim="backend.ort", status="ok", detail="ort and sort, ok by ok")
    file = CheckFile(machine="pc", device="real", date="2026-12-01", edgebench="0.1.0", answers=(answer,))  # fmt: skip
    pack(tmp_path / "check.zip", file, {}, [("ort", "USER"), ("ok", "USER")])
    with zipfile.ZipFile(tmp_path / "check.zip") as archive:
        archive.extract("selfcheck.json", tmp_path)
    (kept,) = read_check_file(tmp_path / "selfcheck.json").answers
    assert (kept.claim, kept.status, kept.detail) == ("backend.ort", "ok", "USER and sort, USER by USER")  # fmt: skip


def test_a_name_that_everybody_has_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(privacy, "_user", lambda: "root")
    monkeypatch.setattr(socket, "gethostname", lambda: "vm")
    monkeypatch.setattr(socket, "getfqdn", lambda: "localhost")
    found = {secret for secret, _ in privacy.secrets_here(tmp_path)}
    assert not {"root", "vm", "localhost", "/", ""} & found

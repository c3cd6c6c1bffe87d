"""Certificates of a fleet: made, checked before they are used, never replaced."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from edgebench.errors import StoreError, UsageError
from edgebench.fleet.certificates import (
    BOARD_FILES,
    CA,
    CA_KEY,
    CERT,
    KEY,
    check_certificates,
    make_certificates,
)

pytest.importorskip("cryptography", reason="needs the extra fleet")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet") / "certs"
    make_certificates(folder, days=30)
    return folder


def test_certificates_serve_both_ends_of_a_connection(made: Path) -> None:
    check_certificates(made)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(made / CA))
    context.load_cert_chain(made / CERT, made / KEY)
    assert context.get_ca_certs()[0]["notAfter"]


def test_keys_are_this_users_alone_and_nothing_is_replaced(made: Path) -> None:
    for name in (*BOARD_FILES, CA_KEY):
        assert (made / name).stat().st_mode & 0o077 == 0
    before = (made / CA).read_bytes()
    with pytest.raises(StoreError, match="there are certificates already"):
        make_certificates(made, days=30)
    assert (made / CA).read_bytes() == before


def test_expired_and_future_certificates_are_one_clear_line(made: Path) -> None:
    now = datetime.now(timezone.utc)
    with pytest.raises(UsageError, match="the certificate expired on 20"):
        check_certificates(made, now + timedelta(days=31))
    with pytest.raises(UsageError, match="the clock says"):
        check_certificates(made, now - timedelta(days=2))


def test_missing_and_foreign_files_are_named(tmp_path: Path, made: Path) -> None:
    with pytest.raises(UsageError, match=r"fleet-ca\.pem: no such file"):
        check_certificates(tmp_path)
    for name in BOARD_FILES:
        (tmp_path / name).write_bytes((made / name).read_bytes())
    (tmp_path / CERT).write_text("hello")
    with pytest.raises(UsageError, match=r"fleet-cert\.pem: not a certificate"):
        check_certificates(tmp_path)

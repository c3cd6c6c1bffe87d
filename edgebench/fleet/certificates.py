"""Makes the certificates of a fleet: one authority, and one certificate that scheduler, workers and client share."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgebench.errors import StoreError, UsageError, mend_disk

if TYPE_CHECKING:
    from distributed.security import Security

CA, CA_KEY = "fleet-ca.pem", "fleet-ca-key.pem"
CERT, KEY = "fleet-cert.pem", "fleet-key.pem"
#: What boards need; the authority's key stays at the desk.
BOARD_FILES: Final = (CA, CERT, KEY)
_ANEW = "`edgebench fleet certs` makes new ones; copy them to every board"


def make_certificates(folder: Path, days: int, now: datetime | None = None) -> None:
    """Writes an authority and a certificate. Raises StoreError; replaces nothing."""
    for name in (*BOARD_FILES, CA_KEY):
        if (folder / name).exists():
            raise StoreError(
                f"{folder / name}: there are certificates already",
                "name another folder with -o, or remove them",
            )
    now = now or datetime.now(timezone.utc)
    ends = now + timedelta(days=days)
    authority, ca_key = _certificate("edgebench fleet authority", now, ends, None)
    certificate, key = _certificate("edgebench fleet", now, ends, (authority, ca_key))
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, content in (
            (CA_KEY, _private(ca_key)),
            (KEY, _private(key)),
            (CA, _public(authority)),
            (CERT, _public(certificate)),
        ):
            _write_new(folder / name, content)
    except OSError as error:
        message = f"{error.filename or folder}: cannot be written: {error.strerror}"
        raise StoreError(message, mend_disk(error, "name another folder with -o")) from None


def _write_new(path: Path, content: bytes) -> None:
    """Only this user may read it."""
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)


def _certificate(
    name: str, now: datetime, ends: datetime, signed_by: tuple[Any, Any] | None
) -> tuple[Any, Any]:
    """A certificate and its key; an authority where nobody signs it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    issuer, issuer_key = (
        (subject, key) if signed_by is None else (signed_by[0].subject, signed_by[1])
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # boards' clocks are late
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=signed_by is None, path_length=None), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_usage(signed_by is None), critical=True)
    )
    return builder.sign(issuer_key, hashes.SHA256()), key


def _usage(authority: bool) -> Any:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _public(certificate: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    content: bytes = certificate.public_bytes(Encoding.PEM)
    return content


def _private(key: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    content: bytes = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return content


def check_certificates(folder: Path, now: datetime | None = None) -> None:
    """Raises UsageError for files that are missing, are none, or are not valid now."""
    from cryptography import x509

    now = now or datetime.now(timezone.utc)
    for name in BOARD_FILES:
        if not (folder / name).is_file():
            raise UsageError(f"{folder / name}: no such file", _ANEW)
    for name in (CA, CERT):
        path = folder / name
        try:
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
        except ValueError:
            raise UsageError(f"{path}: not a certificate", _ANEW) from None
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if now > ends:
            raise UsageError(f"{path}: the certificate expired on {ends:%Y-%m-%d}", _ANEW)
        if now < begins:
            raise UsageError(
                f"{path}: the certificate is valid from {begins:%Y-%m-%d} on, and the clock says "
                f"{now:%Y-%m-%d}",
                "set the clock",
            )


def security_of(folder: Path | None) -> Security | None:
    """What Dask needs for TLS; None without certificates. Raises UsageError for certificates that do not serve."""
    from distributed.security import Security

    if folder is None:
        return None
    check_certificates(folder)
    cert, key = str(folder / CERT), str(folder / KEY)
    return Security(
        require_encryption=True,
        tls_ca_file=str(folder / CA),
        tls_client_cert=cert,
        tls_client_key=key,
        tls_scheduler_cert=cert,
        tls_scheduler_key=key,
        tls_worker_cert=cert,
        tls_worker_key=key,
    )

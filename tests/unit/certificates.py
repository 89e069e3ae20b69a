"""Certificates of a day for tests of TLS."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path
from typing import Any, NamedTuple

import pytest


class Files(NamedTuple):
    """PEM files. `ca`: of who signed the two; the keys stand in the files of their certificates."""

    ca: Path
    server: Path
    client: Path


def make_certificates(directory: Path) -> Files:
    """For a server on 127.0.0.1 and a client."""
    x509: Any = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives.asymmetric import ec

    directory.mkdir(parents=True, exist_ok=True)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test authority")])
    ca = _signed(x509, ca_name, ca_key, ca_name, ca_key, authority=True)
    files = Files(directory / "ca.pem", directory / "server.pem", directory / "client.pem")
    _write(files.ca, ca)
    for path in (files.server, files.client):
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, path.stem)])
        _write(path, _signed(x509, name, key, ca_name, ca_key, authority=False), key)
    return files


def _signed(x509: Any, name: Any, key: Any, issuer: Any, issuer_key: Any, *, authority: bool) -> Any:
    from cryptography.hazmat.primitives import hashes

    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
    )
    if not authority:
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _write(path: Path, certificate: Any, key: Any = None) -> None:
    from cryptography.hazmat.primitives import serialization

    content = certificate.public_bytes(serialization.Encoding.PEM)
    if key is not None:
        content += key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    path.write_bytes(content)

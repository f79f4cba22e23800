"""The certificate of CERT_FILE and the key of KEY_FILE: what is wrong with them, found before anything starts."""

from __future__ import annotations

from datetime import datetime, timezone
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from dockyard.settings.sources import mend_of_file


class Wrong(Exception):
    """One mistake: the variable and the fix."""


def certificates(name: str, path: Path) -> list[x509.Certificate]:
    """The certificates of a PEM file. Raises `Wrong`."""
    try:
        return x509.load_pem_x509_certificates(_read(name, path))
    except ValueError:
        raise Wrong(f"{name} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----).") from None


def mistakes(cert: Path, key: Path, host: str, below: bool = False) -> list[str]:
    """What is wrong with a certificate for `host`, and all names `below` it, and its key; an expired one is, since no
    browser takes it."""
    found = []
    chain: list[x509.Certificate] = []
    public: PublicKeyTypes | None = None
    try:
        chain = certificates("CERT_FILE", cert)
    except Wrong as wrong:
        found.append(str(wrong))
    try:
        public = load_pem_private_key(_read("KEY_FILE", key), None).public_key()
    except Wrong as wrong:
        found.append(str(wrong))
    except TypeError:
        found.append("KEY_FILE has a passphrase, which Caddy can't enter: openssl pkey -in LOCKED -out KEY")
    except ValueError:
        found.append("KEY_FILE holds no private key in PEM form (-----BEGIN PRIVATE KEY-----).")
    if chain and public:
        keys = [_bytes(certificate.public_key()) for certificate in chain]
        if _bytes(public) not in keys:
            found.append("KEY_FILE is not the key of the certificate in CERT_FILE: the two must belong together.")
        elif _bytes(public) != keys[0]:
            found.append("CERT_FILE must begin with the server's own certificate; its issuers' come after it.")
    return found + (_of_the_first(chain[0], host, below) if chain else [])


def _of_the_first(certificate: x509.Certificate, host: str, below: bool) -> list[str]:
    found = []
    now = datetime.now(timezone.utc)
    if certificate.not_valid_after_utc < now:
        found.append(f"CERT_FILE has expired on {certificate.not_valid_after_utc:%Y-%m-%d}: renew the certificate.")
    if certificate.not_valid_before_utc > now:
        found.append(
            f"CERT_FILE is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC: set this machine's "
            "clock, or wait."
        )
    names = _names(certificate)
    wanted = {host: "the host of PUBLIC_URL"} | ({f"*.{host}": "the hosts of SUBDOMAINS"} if below else {})
    for one, what in wanted.items():
        if host and not any(_matches(name, one) for name in names):
            found.append(f"CERT_FILE is for {', '.join(names) or 'no host'}, not for {one}, {what}.")
    return found


def _read(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Wrong(f"{name} cannot be read ({error.strerror}): {mend_of_file(error)}.") from None


def _bytes(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = names.get_values_for_type(x509.IPAddress)
    return [*names.get_values_for_type(x509.DNSName), *map(str, addresses)]


def _matches(name: str, host: str) -> bool:
    """Whether a name of a certificate, which may begin with `*.`, is that of `host`."""
    try:
        return ip_address(name) == ip_address(host)
    except ValueError:
        pass
    name, host = name.lower(), host.lower()
    return name == host or (name.startswith("*.") and name[1:] == host[host.find(".") :] and "." in host)

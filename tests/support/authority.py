"""A certificate authority of a test's own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def certificate(folder: Path, address: str) -> tuple[Path, Path]:
    """A server's certificate with its key (PEM) for an IP address, and what has to be trusted for it: this machine's
    own extra authorities, where it has some, and the new one."""
    key, cert, both = folder / "key.pem", folder / "cert.pem", folder / "server.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    extension = f"subjectAltName=IP:{address}"
    subprocess.run(
        [*command.split(), "-addext", extension, "-keyout", key, "-out", cert], check=True, capture_output=True
    )
    both.write_text(cert.read_text() + key.read_text())
    trusted = folder / "trusted.pem"
    known = [os.environ.get(name) for name in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")]
    own = next((Path(path).read_text() for path in known if path), "")
    trusted.write_text(f"{own}\n{cert.read_text()}")
    return both, trusted

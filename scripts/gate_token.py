"""The token by which the gate of a swarm knows its hub: COOKIE_SECRET on standard input, the token on standard output.

Derived, so that .env needs no further secret. The token does not disclose COOKIE_SECRET.
"""

from __future__ import annotations

import hashlib
import hmac
import sys

LABEL = b"dockyard: token of hub and gate"


def gate_token(cookie_secret: str) -> str:
    """256 bits as hexadecimal digits. White space around the secret, as at the end of a file, does not count."""
    return hmac.new(cookie_secret.strip().encode(), LABEL, hashlib.sha256).hexdigest()


if __name__ == "__main__":
    print(gate_token(sys.stdin.read()))

"""What the hub and the gate have to agree on: where they meet, and the token by which the gate knows the hub."""

from __future__ import annotations

from pathlib import Path

# Where it listens for a hub that may be on another node.
PORT = 2375
# On a swarm, each request needs the token of this file in this header: other containers may join the network.
TOKEN_FILE = Path("/run/secrets/gate_token")
TOKEN_HEADER = "X-Dockyard-Gate"
# Where they meet on one host: a folder with the gate's socket.
FOLDER = Path("/run/gate")
SOCKET = "engine.sock"
# The file that shows what the gate has read, and the socket with which the hub makes the gate exit.
READ = "profiles.yaml"
AGAIN = "again.sock"


def token(file: Path = TOKEN_FILE) -> str:
    """Return the token of the hub and the gate; empty if there is none. Raises ValueError if it is too short."""
    text = file.read_text().strip() if file.exists() else ""
    if text and not (len(text) >= 32 and text.isascii() and text.isprintable() and " " not in text):
        raise ValueError(f"{file} must have 32 or more ASCII characters in one line")
    return text

"""The gate: the one process that talks to the Docker engine, for a hub that it does not trust.

It forwards nothing that it was given. A request is read strictly, compared with what Dockyard's spawner sends, and
written anew; what is not known is refused. `python -m dockyard.gate` runs it.
"""

from pathlib import Path

# Where it listens for a hub that may be on another node.
PORT = 2375
# On a swarm, each request needs the token of this file in this header: other containers may join the network.
TOKEN_FILE = Path("/run/secrets/gate_token")
TOKEN_HEADER = "X-Dockyard-Gate"


def token(file: Path = TOKEN_FILE) -> str:
    """Return the token of the hub and the gate; empty if there is none. Raises ValueError if it is too short."""
    text = file.read_text().strip() if file.exists() else ""
    if text and not (len(text) >= 32 and text.isascii() and text.isprintable() and " " not in text):
        raise ValueError(f"{file} must have 32 or more ASCII characters in one line")
    return text

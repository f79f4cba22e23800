"""Servers that end because they run as root without root's capabilities."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dockerspawner._storage.accounts import ROOT_NAMES

# Output of tools that change accounts, owners or users, if root's capabilities are missing.
_NO_CAPABILITY = re.compile(
    r"operation not permitted|failure while writing /etc/|(cannot|can't) (open|lock|update) /etc/|no new privileges"
    r"|^(user|group)(add|mod|del):|^(sudo|su|gosu|su-exec|setpriv|chown|chgrp):",
    re.IGNORECASE | re.MULTILINE,
)


def lacks_capabilities(container: Mapping[str, Any], log: str) -> bool:
    """Whether the end of a container's log shows that it runs as root without root's capabilities."""
    dropped = {str(name).upper() for name in (container.get("HostConfig") or {}).get("CapDrop") or ()}
    is_root = str(container["Config"].get("User") or "").partition(":")[0] in ROOT_NAMES
    return "ALL" in dropped and is_root and _NO_CAPABILITY.search(log) is not None

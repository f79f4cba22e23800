"""Containers that stand still."""

from __future__ import annotations

from typing import Any

from docker.errors import APIError

from support.wait import wait_until


def freeze(container: Any) -> None:
    """Pause it. On a busy machine Linux may not catch all of its processes at once, nor one that begins just now."""

    def frozen() -> bool:
        try:
            container.pause()
        except APIError as error:
            if not error.is_server_error():
                raise
            return False
        return True

    wait_until(frozen, timeout=30, what=f"{container.name} is paused")

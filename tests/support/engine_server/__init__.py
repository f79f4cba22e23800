"""A fake Docker engine that speaks the real HTTP API at a unix socket, as a process of its own.

    python -m support.engine_server SOCKET [--containers N] [--image NAME]...

A test starts it as a context manager, `EngineServer(folder)`: `url` is for clients, `control` for what goes wrong.
"""

from support.engine_server.client import Control, EngineServer

__all__ = ["Control", "EngineServer"]

"""Sleep: a stop that freezes the server, and a start that thaws it with kernels, variables and token intact."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from traitlets import CaselessStrEnum, Float, Integer, validate

from dockerspawner._core import Core
from dockerspawner._engine.client import Engine, perform
from dockerspawner._errors.failures import failure
from dockerspawner._errors.translation import Conflict, Failed, Gone, Refused
from dockerspawner._records.database import save_options, session_of
from dockerspawner._start.gpus import Gpus
from dockerspawner._start.paused import Sleeper, Sleepers

# Tries to freeze a server: on a busy machine Linux may not catch all of its processes at once.
TRIES = 3


class SleepSettings(Core):
    """What a stop does to a server."""

    stop_action = CaselessStrEnum(
        ["stop", "pause"],
        "stop",
        config=True,
        help="""stop: the server ends. pause: it is frozen, whoever stops it, and goes on at the next start where
        it was, unless its settings have changed or the option `fresh` is given. Frees processors, not
        memory. Needs remove = False.""",
    )

    max_sleeping = Integer(
        0, min=0, config=True, help="Frozen servers of this hub; of more, the oldest are ended. 0: no limit."
    )

    pause_max_age = Float(
        0, min=0, config=True, help="Seconds after which a frozen server is ended. 0: it may sleep for ever."
    )

    @validate("user_options")
    def _keep_choice(self, proposal: Any) -> Any:
        """Who asks for a fresh start and nothing else wants what the last one had."""
        options = proposal.value
        return {**self.user_options, **options} if options.keys() == {"fresh"} else options


class Sleep:
    """The pauses of one server."""

    def __init__(self, server: SleepSettings, gpus: Gpus) -> None:
        self._server = server
        self._gpus = gpus
        # When it was frozen, in seconds since the epoch; 0 where it is not.
        self.paused_at = 0.0
        # Stop timeout for the end of a paused server: from the profile of its start.
        self._paused_stop_timeout: int | None = None

    @property
    def sleepers(self) -> Sleepers:
        server = self._server

        def make() -> Sleepers:
            return Sleepers(server.engine, server.instance, session_of(server), server.log)

        engine: Engine = server.engine
        return engine.shared(Sleepers, server.instance, make)

    def keep_limits(self) -> None:
        """Have the paused servers of this hub end by the limits that this server's settings have."""
        self.sleepers.keep(self._server.max_sleeping, self._server.pause_max_age)

    def lock(self) -> asyncio.Lock:
        """Held while a start obtains its container, so that the keeper does not end the paused one meanwhile."""
        return self.sleepers.lock(self._server.object_id or self._server.object_name)

    def check(self) -> None:
        if self._server.stop_action == "pause" and self._server.remove:
            raise failure("The setting stop_action is 'pause', which needs remove = False.", reason="settings")

    def load(self, state: Mapping[str, Any]) -> None:
        self.paused_at = state.get("paused_at", 0.0)
        self._paused_stop_timeout = state.get("paused_stop_timeout")

    def kept(self) -> dict[str, Any]:
        state: dict[str, Any] = {}
        if self.paused_at and self._server.object_id:
            state["paused_at"] = self.paused_at
            if self._paused_stop_timeout is not None:
                state["paused_stop_timeout"] = self._paused_stop_timeout
        return state

    async def pause(self) -> bool:
        """Freeze the server; False where it can only be ended."""
        if self._server.stop_action != "pause" or self._server.remove:
            return False
        try:
            await self._freeze()
        except (Gone, Failed, Refused):
            return False
        except Conflict as error:
            if "already paused" not in str(error):
                return False
        self.paused_at, self._paused_stop_timeout = time.time(), self._server.stop_timeout
        self._server._watch.paused(self._server.object_id)
        self.keep_limits()
        self.sleepers.add(
            self._server.object_id,
            Sleeper(self.paused_at, self._server._own_network, self._server.stop_timeout, self._gpus.holder),
        )
        self._server.log.info("%s sleeps", self._server.object_name)
        return True

    async def _freeze(self) -> None:
        for tries_left in reversed(range(TRIES)):
            try:
                await perform(self._server.docker, "pause", self._server.object_id)
                return
            except Failed:
                if not tries_left:
                    raise

    def unpaused(self, container_id: str) -> None:
        """The server sleeps no more in that container, which goes on, ends, or has gone."""
        self.paused_at = 0.0
        self.sleepers.asleep.pop(container_id, None)

    @property
    def force_recreate(self) -> bool:
        return bool(self._server.user_options.get("fresh"))

    def forget_fresh(self) -> None:
        """The option is for one start: the hub would give it to the next one, too."""
        if self.force_recreate:
            others = {name: value for name, value in self._server.user_options.items() if name != "fresh"}
            self._server.set_trait("user_options", others)
            save_options(self._server, others)

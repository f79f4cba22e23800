"""Sleep: a stop that freezes the server, and a start that thaws it with kernels, variables and token intact."""

from __future__ import annotations

import time
from typing import Any

from traitlets import CaselessStrEnum, Float, Integer, validate

from dockerspawner._core import Core
from dockerspawner._engine.client import perform
from dockerspawner._errors.failures import failure
from dockerspawner._errors.translation import Conflict, Failed, Gone, Refused
from dockerspawner._records.database import save_options, session_of
from dockerspawner._start.paused import Sleeper, Sleepers

# Tries to freeze a server: on a busy machine Linux may not catch all of its processes at once.
TRIES = 3


class Sleep(Core):
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

    # When it was frozen, in seconds since the epoch; 0 where it is not.
    _paused_at = 0.0
    # Stop timeout for the end of a paused server: from the profile of its start.
    _paused_stop_timeout: int | None = None

    @property
    def _sleepers(self) -> Sleepers:
        sleepers: Sleepers | None = self.engine.sleepers.get(self.instance)
        if sleepers is None:
            sleepers = Sleepers(self.engine, self.instance, session_of(self), self.log)
            self.engine.sleepers[self.instance] = sleepers
        return sleepers

    def _listen(self) -> None:
        super()._listen()
        self._sleepers.keep(self.max_sleeping, self.pause_max_age)

    async def _obtain(self) -> None:
        # Where a keeper is just ending the sleeper, that is waited for; it ends none that starts.
        async with self._sleepers.lock(self.object_id or self.object_name):
            await super()._obtain()

    def _check_sleep(self) -> None:
        if self.stop_action == "pause" and self.remove:
            raise failure("The setting stop_action is 'pause', which needs remove = False.", reason="settings")

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self._paused_at = state.get("paused_at", 0.0)
        self._paused_stop_timeout = state.get("paused_stop_timeout")

    def get_state(self) -> dict[str, Any]:
        state: dict[str, Any] = super().get_state()
        if self._paused_at and self.object_id:
            state["paused_at"] = self._paused_at
            if self._paused_stop_timeout is not None:
                state["paused_stop_timeout"] = self._paused_stop_timeout
        return state

    async def _fall_asleep(self) -> bool:
        """Freeze the server; False where it can only be ended."""
        if self.stop_action != "pause" or self.remove:
            return False
        try:
            await self._freeze()
        except (Gone, Failed, Refused):
            return False
        except Conflict as error:
            if "already paused" not in str(error):
                return False
        self._paused_at, self._paused_stop_timeout = time.time(), self.stop_timeout
        self._watch.paused(self.object_id)
        self._sleepers.keep(self.max_sleeping, self.pause_max_age)
        self._sleepers.add(self.object_id, Sleeper(self._paused_at, self._own_network, self.stop_timeout, self._holder))
        self.log.info("%s sleeps", self.object_name)
        return True

    async def _freeze(self) -> None:
        for tries_left in reversed(range(TRIES)):
            try:
                await perform(self.docker, "pause", self.object_id)
                return
            except Failed:
                if not tries_left:
                    raise

    def _wake(self, container_id: str) -> None:
        """The server sleeps no more in that container, which goes on, ends, or has gone."""
        self._paused_at = 0.0
        self._sleepers.asleep.pop(container_id, None)

    def _wants_fresh(self) -> bool:
        return bool(self.user_options.get("fresh"))

    @validate("user_options")
    def _keep_choice(self, proposal: Any) -> Any:
        """Who asks for a fresh start and nothing else wants what the last one had."""
        options = proposal.value
        return {**self.user_options, **options} if options.keys() == {"fresh"} else options

    def _forget_fresh(self) -> None:
        """The option is for one start: the hub would give it to the next one, too."""
        if self._wants_fresh():
            others = {name: value for name, value in self.user_options.items() if name != "fresh"}
            self.set_trait("user_options", others)
            save_options(self, others)

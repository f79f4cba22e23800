"""Sleep: a stop that freezes the server, and a start that thaws it with kernels, variables and token intact."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from traitlets import CaselessStrEnum, Float, Integer, validate
from traitlets.config import LoggingConfigurable

from dockerspawner.engine import perform
from dockerspawner.errors import Conflict, EngineError, Gone
from dockerspawner.failures import failure
from dockerspawner.records import states_on_record

# Seconds between two looks for sleepers that have slept too long.
_LOOK_EVERY = 60.0


def overdue(since: Mapping[str, float], now: float, most: int, longest: float) -> list[str]:
    """Of the sleepers, by when they fell asleep, those to end: who slept too long, and the oldest beyond `most`.

    Times in seconds; 0 is no limit.
    """
    oldest_first = sorted(since, key=lambda sleeper: since[sleeper])
    too_many = max(0, len(oldest_first) - most) if most else 0
    return [
        sleeper
        for number, sleeper in enumerate(oldest_first)
        if number < too_many or (longest and now - since[sleeper] > longest)
    ]


class Sleepers:
    """Who sleeps on one engine, by container, since when. Known from the states that the hub keeps."""

    def __init__(self) -> None:
        self.since: dict[str, float] = {}
        self.loaded = False
        self.keeper: asyncio.Task[None] | None = None


class Sleep(LoggingConfigurable):
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

    @property
    def _sleepers(self) -> Sleepers:
        sleepers: Sleepers = self.engine.sleepers.setdefault(self.instance, Sleepers())
        return sleepers

    def _check_sleep(self) -> None:
        if self.stop_action == "pause" and self.remove:
            raise failure("The setting stop_action is 'pause', which needs remove = False.", reason="settings")

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self._paused_at = state.get("paused_at", 0.0)

    def get_state(self) -> dict[str, Any]:
        state: dict[str, Any] = super().get_state()
        return state | {"paused_at": self._paused_at} if self._paused_at and self.object_id else state

    async def _fall_asleep(self) -> bool:
        """Freeze the server; False where it can only be ended."""
        if self.stop_action != "pause" or self.remove:
            return False
        try:
            await perform(self.docker, "pause", self.object_id)
        except Gone:
            return False
        except Conflict as error:
            if "already paused" not in str(error):
                return False
        self._paused_at = time.time()
        self._sleepers.since[self.object_id] = self._paused_at
        self.log.info("%s sleeps", self.object_name)
        await self._end_sleepers()
        return True

    def _wake(self) -> None:
        self._paused_at = 0.0
        self._sleepers.since.pop(self.object_id, None)

    def _wants_fresh(self) -> bool:
        return bool(self.user_options.get("fresh"))

    @validate("user_options")  # type: ignore[untyped-decorator]
    def _keep_choice(self, proposal: Any) -> Any:
        """Who asks for a fresh start and nothing else wants what the last one had."""
        options = proposal.value
        return {**self.user_options, **options} if options.keys() == {"fresh"} else options

    def _forget_fresh(self) -> None:
        """The option is for one start: the hub would give it to the next one, too."""
        if self._wants_fresh():
            others = {name: value for name, value in self.user_options.items() if name != "fresh"}
            self.set_trait("user_options", others)
            if self.orm_spawner:
                self.orm_spawner.user_options = others

    # The oldest

    async def _end_sleepers(self) -> None:
        """End those who have slept too long, or are too many; and go on looking for them."""
        if not self.max_sleeping and not self.pause_max_age:
            return
        sleepers = self._sleepers
        if not sleepers.loaded:
            states = [state for state in states_on_record(self) if "paused_at" in state]
            sleepers.since = {state["object_id"]: state["paused_at"] for state in states} | sleepers.since
            sleepers.loaded = True
        if self.pause_max_age and (sleepers.keeper is None or sleepers.keeper.done()):
            sleepers.keeper = asyncio.get_running_loop().create_task(self._keep_looking())
        for container_id in overdue(sleepers.since, time.time(), self.max_sleeping, self.pause_max_age):
            try:
                word = await self._watch.word(container_id)
                if word is not None and word.running:
                    self.log.info("%s has slept long enough: its server is ended", word.name)
                    await self._end(container_id)
                    await self._detach(word.name)
            except EngineError as error:
                self.log.warning("Sleeping container %s can't be ended now: %s", container_id[:12], error)
                continue
            sleepers.since.pop(container_id, None)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(min(_LOOK_EVERY, self.pause_max_age))
            await self._end_sleepers()

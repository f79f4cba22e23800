"""Many users of a kit at once, for a while: they sign in, start, run, stop; faults come in between, by a seed.

`Soak.run` is the time itself, `Soak.calm` the same without faults; `Soak.books` is what has to balance after each.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import docker
from docker.errors import APIError

from support.freezing import freeze
from support.kit import Kit
from support.soakperson import Person
from support.soakreport import EVERYBODY, NOBODY, Fault, Report
from support.wait import until, wait_until

SERVICES = ("hub", "gate", "proxy")
# Who acts at the same time.
AT_ONCE = 10

# What the hub, the gate or the proxy itself has: the child of the container's init. Health checks have no parent there.
PROCESS = """
for process in /proc/[0-9]*; do
  grep -q '^PPid:[^0-9]*1$' $process/status || continue
  echo "$(sed -n 's/^VmRSS:[^0-9]*\\([0-9]*\\).*/\\1/p' $process/status)" \\
    "$(sed -n 's/^Threads:[^0-9]*//p' $process/status)" "$(ls -l $process/fd | grep -c socket:)"
done 2>/dev/null | sort -n | tail -n 1
"""
ROWS = """
import json, sqlite3
db = sqlite3.connect("file:/srv/dockyard/data/jupyterhub.sqlite?mode=ro", uri=True)
count = lambda what: db.execute(f"select count(*) from {what}").fetchone()[0]
print(json.dumps({
    "servers": count("servers"), "running": count("spawners where server_id is not null"),
    "users": count("users"), "codes": count("oauth_codes"),
    "clients": count("oauth_clients where identifier like 'jupyterhub-user-%'"),
    "server tokens": count("api_tokens where note like 'Server at %'"),
}))
"""


# By its name, what makes one, and returns whom it may hurt.
Faults = dict[str, Callable[[], str]]


class Soak:
    def __init__(self, kit: Kit, seed: int, users: int, image: str, few: int) -> None:
        """`few` of the users start `image` instead of the kit's own."""
        self.kit, self.report = kit, Report(seed)
        self.chance = random.Random(seed)
        self._engine = docker.from_env()
        self.people = [Person(self, f"soak{number}", image if number < few else "") for number in range(users)]
        self.admin = Person(self, "admin")
        # Held by a fault until it is over, and by what has to be done without one.
        self._calm = asyncio.Lock()
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._over = False
        # Is the hub being killed?
        self.killing = False

    async def close(self) -> None:
        for person in [*self.people, self.admin]:
            await person.close()
        self._engine.close()

    # The time itself

    async def run(self, seconds: float) -> None:
        """The hub is killed in the first third only, gate and proxy not in the last, so that it shows how they grow."""
        began = time.monotonic()
        await self._sign_admin_in()
        # The first server brings the networks that all servers share.
        first = self.people[0]
        await first.sign_in()
        assert await first.start()
        await first.stop()
        _, self._kits_networks = self._networks()
        living = [asyncio.create_task(self._live(person)) for person in self.people]
        try:
            once, twice, always = self._of_the_hub(), self._of_what_it_uses(), self._of_servers()
            parts = [(once | twice | always, once), (twice | always, twice), (always, always)]
            for part, (kinds, needed) in enumerate(parts, 1):
                await self._trouble(kinds, set(needed), began + seconds * part / len(parts))
                self.report.process.append({service: self.process(service) for service in SERVICES})
                self.report.started.append(self.report.did["start"])
            self._over = True
            await asyncio.gather(*living)
            await asyncio.gather(*(self._find_again(person) for person in self.people if person.cut))
        finally:
            for life in living:
                life.cancel()
            await asyncio.gather(*living, return_exceptions=True)

    async def _sign_admin_in(self) -> None:
        await self.admin.ask("GET", "/hub/login")
        data = {"username": "admin", "password": self.kit.setting("ADMIN_PASSWORD"), "_xsrf": self.admin._xsrf()}
        assert (await self.admin.ask("POST", "/hub/login?next=/hub/home", data=data))[0] == 200

    async def _live(self, person: Person) -> None:
        chance = random.Random(f"{self.report.seed} {person.name}")
        async with self._turn:
            await person.sign_in()
        while not self._over:
            async with self._turn:
                what = chance.choices(["session", "named", "cancel", "delete", "sign in"], [10, 3, 2, 1, 2])[0]
                if what == "session":
                    # Some stay, for faults to hit.
                    await self._use(person, stays=chance.random() < 0.3)
                elif what == "named":
                    await self._use(person, "second")
                elif what == "cancel":
                    await person.cancel()
                elif what == "sign in":
                    await person.sign_in()
                else:
                    await self._delete(person)

    async def _find_again(self, person: Person) -> None:
        """What a start has made that ended with the hub is there still: the next one finds it."""
        async with self._turn:
            for server in ("", "second"):
                if await person.start(server):
                    await person.stop(server)

    async def _use(self, person: Person, server: str = "", stays: bool = False) -> None:
        if await person.start(server):
            await person.visit(server)
            if not stays:
                await person.stop(server)

    async def calm(self) -> None:
        """Some do all once, and nothing goes wrong; at the end no server runs."""

        async def live(person: Person) -> None:
            async with self._turn:
                await person.sign_in()
                await self._use(person)
                await self._use(person, "second")
                await person.cancel()

        await asyncio.gather(*map(live, self.people[: 2 * AT_ONCE]))

    async def all_stopped(self) -> None:
        async def stop(person: Person) -> None:
            async with self._turn:
                for server in await person.servers():
                    await person.stop(server)

        await asyncio.gather(*map(stop, self.people))

    async def _delete(self, person: Person) -> None:
        async with self._calm:
            for server in await person.servers():
                await person.stop(server)
            status, said = await self.admin.ask("DELETE", f"/hub/api/users/{person.name}")
            assert status == 204, said
        await person.sign_in()
        self.report.did["delete"] += 1

    # Faults

    async def _trouble(self, kinds: Faults, needed: set[str], end: float) -> None:
        """Faults until `end`, and until all that are `needed` have been; first those that have not been yet."""
        seen = {fault.name for fault in self.report.faults}
        while time.monotonic() < end or not needed <= seen:
            name = self.chance.choice(sorted(kinds.keys() - seen) or sorted(kinds))
            seen.add(name)
            async with self._calm:
                began = time.monotonic()
                self.killing = name == "hub killed"
                for person in self.people:
                    person.cut |= person.starting and self.killing
                hurt = await asyncio.to_thread(kinds[name])
                self.killing = False
                await until(self._is_well, timeout=120, interval=0.2, what=f"all is well after {name}")
                self.report.faults.append(Fault(name, began, time.monotonic(), hurt))
            calm = time.monotonic() + self.chance.uniform(1, 5)
            await until(lambda calm=calm: _past(calm), timeout=60)  # type: ignore[misc]

    async def _is_well(self) -> bool:
        return (await self.admin.ask("GET", "/hub/health"))[0] == 200

    def _of_the_hub(self) -> Faults:
        return {"hub killed": lambda: self._kill("hub")}

    def _of_what_it_uses(self) -> Faults:
        # With the gate go all calls that are under way, and the stream of events.
        return {"gate killed": lambda: self._kill("gate"), "proxy killed": lambda: self._kill("proxy")}

    def _of_servers(self) -> Faults:
        return {
            "server killed": lambda: self._hit(lambda server: server.kill()),
            "server removed": lambda: self._hit(lambda server: server.remove(force=True)),
            "engine slow": lambda: self._slow(4),
            "engine stalled": lambda: self._slow(1),
        }

    def _kill(self, service: str) -> str:
        self.kit.container(service).restart(timeout=0)
        self.kit.wait_for(service)
        return EVERYBODY

    def _hit(self, how: Callable[[Any], Any]) -> str:
        if not (servers := self.kit.servers()):
            return NOBODY
        server = self.chance.choice(servers)
        # It may have gone by itself.
        with suppress(APIError):
            how(server)
        return str(server.labels["dockyard.user"])

    def _slow(self, seconds: float) -> str:
        """Nothing is lost, everything is late."""
        gate = self.kit.container("gate")
        freeze(gate)
        over = time.monotonic() + seconds
        wait_until(lambda: time.monotonic() > over, timeout=60)
        gate.unpause()
        return NOBODY

    # The books

    def process(self, service: str) -> dict[str, int]:
        """Of the service's own process: `rss` in KiB, `threads`, `sockets`."""
        done = self.kit.container(service).exec_run(["sh", "-c", PROCESS])
        return dict(zip(("rss", "threads", "sockets"), map(int, done.output.split()), strict=True))

    def _rows(self) -> dict[str, int]:
        done = self.kit.container("hub").exec_run(["python3", "-c", ROWS])
        assert done.exit_code == 0, done.output
        return dict(json.loads(done.output))

    def _networks(self) -> tuple[list[str], list[str]]:
        """Whose servers have one of their own, and the names of the others."""
        listed = [network for network in self._engine.networks.list() if self.kit.project in network.name]
        owners = {network.name: network.attrs["Labels"] for network in listed}
        owned = {name: _server(labels) for name, labels in owners.items() if "dockyard.user" in labels}
        return sorted(owned.values()), sorted(owners.keys() - owned.keys())

    async def books(self) -> dict[str, tuple[Any, Any]]:
        """By what is counted: what is there, and what should be."""
        project = self.kit.project
        _, text = await self.admin.ask("GET", "/hub/api/users?limit=200")
        users = {user["name"]: user["servers"] for user in json.loads(text)}
        ready = sorted(f"{name}/{server}" for name, servers in users.items() for server in servers)
        networks, others = self._networks()
        listed = json.loads((await self.admin.ask("GET", "/hub/api/proxy"))[1])
        paths = {"/", "/hub/"} | {f"/user/{one.rstrip('/')}/" for one in ready}
        volumes = [volume.name for volume in self._engine.volumes.list() if f"{project}-home-" in volume.name]
        self.report.rows = rows = self._rows()
        return {
            "containers": (sorted(_server(server.labels) for server in self.kit.servers()), ready),
            "volumes": (sorted(set(volumes) - {f"{project}-home-{name}" for name in users}), []),
            "networks of servers": (networks, ready),
            "other networks": (others, self._kits_networks),
            "routes": (sorted(listed), sorted(paths)),
            "servers that run": (rows["running"], len(ready)),
            # A start that ends with the hub may have come to the server's row, and not to who has it.
            "rows of servers": (max(len(ready), rows["servers"] - sum(one.cut for one in self.people)), len(ready)),
            "rows of users": (rows["users"], len(users)),
            "codes of sign-ins": (rows["codes"], 0),
            "OAuth clients": (rows["clients"], len(ready)),
            "tokens of servers": (rows["server tokens"], len(ready)),
        }


def _server(labels: Mapping[str, str]) -> str:
    return f"{labels['dockyard.user']}/{labels['dockyard.server']}"


async def _past(when: float) -> bool:
    return time.monotonic() >= when

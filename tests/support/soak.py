"""Many users of a kit at once, for a while: they sign in, start, run, stop; faults come in between, by a seed.

`Soak.run` is the time itself, `Soak.calm` the same without faults; `Soak.books` is what has to balance after each.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import docker
import requests
from docker.errors import APIError
from websockets.exceptions import WebSocketException

from support.freezing import freeze
from support.kit import Kit
from support.user import Refused
from support.wait import until, wait_until

SERVICES = ("hub", "gate", "proxy")
# Who acts at the same time.
AT_ONCE = 10
# Seconds after a fault in which what begins may still meet it.
WAKE = 2.0

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


@dataclass
class Fault:
    """One that was over, all being well again, at `over`. `hurt` is the user whom it may have hurt, or EVERYBODY."""

    name: str
    began: float
    over: float
    hurt: str


EVERYBODY, NOBODY = "everybody", "nobody"


@dataclass
class Start:
    """A user's start; `said` is why it failed, or nothing."""

    user: str
    began: float
    ended: float
    said: str = ""

    def may_have_met(self, fault: Fault) -> bool:
        return fault.hurt in {self.user, EVERYBODY} and self.began < fault.over + WAKE and self.ended > fault.began


@dataclass
class Report:
    """What happened."""

    seed: int
    did: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    # At the end of each third: what the processes of the services have, and how many starts have been.
    process: list[dict[str, dict[str, int]]] = field(default_factory=list)
    started: list[int] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)

    def undisturbed(self) -> list[Start]:
        """Starts that no fault can have hurt."""
        return [start for start in self.starts if not any(map(start.may_have_met, self.faults))]


class Person:
    """One user in a browser. Whatever is unreachable, or says 5xx, is tried again: faults pass."""

    def __init__(self, soak: Soak, name: str, image: str = "") -> None:
        self.name = name
        # Is a start under way; was one when the hub was killed.
        self.starting = self.cut = False
        self._soak, self._hub, self._image = soak, soak.kit.url, image
        self._http = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))

    async def close(self) -> None:
        await self._http.close()

    def _xsrf(self) -> str:
        cookies = self._http.cookie_jar.filter_cookies(self._http._build_url(f"{self._hub}/hub/"))
        return cookies["_xsrf"].value if "_xsrf" in cookies else ""

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, str]:
        """Status and text of the first answer that is not of a fault."""
        said: tuple[int, str] = (0, "")

        async def answered() -> bool:
            nonlocal said
            headers = {"X-XSRFToken": self._xsrf()}
            timeout = aiohttp.ClientTimeout(total=60)
            try:
                async with self._http.request(
                    method, self._hub + path, headers=headers, timeout=timeout, **options
                ) as answer:
                    said = answer.status, await answer.text()
            except (aiohttp.ClientError, asyncio.TimeoutError):
                return False
            # 404: a proxy that has just come, and does not know the hub yet.
            from_proxy = said[0] == 404 and path.startswith("/hub") and not said[1].startswith("{")
            return said[0] not in {502, 503, 504} and not from_proxy

        await until(answered, timeout=120, interval=0.3, what=f"{method} {path} for {self.name}: {said}")
        return said

    async def sign_in(self) -> None:
        self._http.cookie_jar.clear()
        await self.ask("GET", "/hub/login")
        data = {"username": self.name, "password": self._soak.kit.setting("USER_PASSWORD"), "_xsrf": self._xsrf()}
        await self.ask("POST", "/hub/login?next=/hub/home", data=data)
        status, page = await self.ask("GET", "/hub/home")
        assert status == 200, f"{self.name}: {status} {page[-3000:]}"
        assert self.name in page
        self._soak.report.did["sign-in"] += 1

    async def servers(self) -> dict[str, Any]:
        status, text = await self.ask("GET", f"/hub/api/users/{self.name}")
        return dict(json.loads(text)["servers"]) if status == 200 else {}

    def _at(self, server: str) -> str:
        return f"/hub/api/users/{self.name}/servers/{server}" if server else f"/hub/api/users/{self.name}/server"

    @contextmanager
    def _start(self) -> Iterator[None]:
        self.starting = True
        self.cut |= self._soak.killing
        try:
            yield
        finally:
            self.starting = False

    async def start(self, server: str = "") -> bool:
        with self._start():
            return await self._started(server)

    async def _started(self, server: str) -> bool:
        began = time.monotonic()
        options = {"image": self._image} if self._image else {}
        status, said = await self.ask("POST", self._at(server), json=options)
        if status in {201, 202}:
            await until(lambda: self._settled(server), timeout=240, interval=0.2, what=f"{self.name} is started")
            if (await self.servers()).get(server, {}).get("ready"):
                self._soak.report.did["start"] += 1
                self._soak.report.starts.append(Start(self.name, began, time.monotonic()))
                return True
            said = (await self.ask("GET", f"{self._at(server)}/progress"))[1]
        elif status == 400 and "already" in said:
            return True
        self._soak.report.starts.append(Start(self.name, began, time.monotonic(), said or str(status)))
        return False

    async def _settled(self, server: str) -> bool:
        return not (await self.servers()).get(server, {}).get("pending")

    async def visit(self, server: str = "") -> None:
        """Reach the server by way of the proxy, and where it is a notebook run a cell; it may have been killed."""
        path = f"/user/{self.name}/{server}/api".replace("//", "/")
        status, page = await self.ask("GET", path, allow_redirects=False)
        # The second is what httpd says that is asked for a file that it lacks.
        is_there = status == 200 or "The requested URL was not found" in page
        self._soak.report.did["visit" if is_there else "visit in vain"] += 1
        if self._image and not server:
            self._soak.report.did["run" if await asyncio.to_thread(self._run) else "run in vain"] += 1

    def _run(self) -> bool:
        try:
            with self._soak.kit.user(self.name).sign_in().visiting().kernel() as kernel:
                return kernel.run("print(6 * 7)") == "42\n"
        except (requests.RequestException, WebSocketException, OSError, Refused, AssertionError):
            return False

    async def stop(self, server: str = "") -> None:
        await self.ask("DELETE", self._at(server))
        await until(lambda: self._settled(server), timeout=240, interval=0.2, what=f"{self.name} is stopped")
        self._soak.report.did["stop"] += 1

    async def cancel(self) -> None:
        """Go away while a server starts, and have it stopped."""
        with self._start():
            cancelled = await self._cancelled()
        await self.stop()
        self._soak.report.did["cancel" if cancelled else "cancel in vain"] += 1

    async def _cancelled(self) -> bool:
        headers = {"X-XSRFToken": self._xsrf()}
        task = asyncio.create_task(self._http.post(self._hub + self._at(""), headers=headers, json={}))

        async def begun() -> bool:
            return task.done() or not await self._settled("")

        await until(begun, timeout=120, what=f"{self.name}'s start has begun")
        await asyncio.wait([task], timeout=self._soak.chance.random() / 4)
        cancelled = task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await until(lambda: self._settled(""), timeout=240, interval=0.2, what=f"{self.name}'s start has ended")
        return cancelled


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

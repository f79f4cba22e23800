"""Many users of a kit at once, for a while: they sign in, start, run, stop; faults come in between, by a seed.

`Soak.run` is the time itself; `Soak.books` is what has to balance once it is over.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import docker
from docker.errors import APIError

from support.kit import Kit
from support.wait import until, wait_until

# Who acts at the same time.
AT_ONCE = 10
# Starts that fail within this time after a fault are the fault's.
WAKE = 10.0

# What the hub's process has: the largest of those in its container is the hub itself.
PROCESS = """
import glob, json, os
def read(pid):
    status = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status"))
    links = []
    for fd in glob.glob(f"/proc/{pid}/fd/*"):
        try: links.append(os.readlink(fd))
        except OSError: pass
    return {"rss": int(status.get("VmRSS", "0").split()[0]), "threads": int(status["Threads"]),
            "sockets": sum(link.startswith("socket:") for link in links), "files": len(links)}
pids = [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) != os.getpid()]
print(json.dumps(max(map(read, pids), key=lambda one: one["rss"])))
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
class Report:
    """What happened. `failures` are starts that failed: (began, ended, what was said)."""

    seed: int
    did: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[float, float, str]] = field(default_factory=list)
    failures: list[tuple[float, float, str]] = field(default_factory=list)
    process: list[dict[str, int]] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)

    def unexplained(self) -> list[str]:
        """What was said of starts that failed while nothing was wrong."""

        def is_hit(began: float, ended: float) -> bool:
            return any(began < over + WAKE and ended > start for start, over, _ in self.faults)

        return [said for began, ended, said in self.failures if not is_hit(began, ended)]


class Person:
    """One user in a browser. Whatever is unreachable, or says 5xx, is tried again: faults pass."""

    def __init__(self, soak: Soak, name: str, image: str = "") -> None:
        self.name = name
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
            return said[0] not in {502, 503, 504} and not (said[0] == 404 and path.startswith("/hub"))

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

    async def start(self, server: str = "") -> bool:
        began = time.monotonic()
        options = {"image": self._image} if self._image else {}
        status, said = await self.ask("POST", self._at(server), json=options)
        if status in {201, 202}:
            await until(lambda: self._settled(server), timeout=120, interval=0.2, what=f"{self.name} is started")
            if (await self.servers()).get(server, {}).get("ready"):
                self._soak.report.did["start"] += 1
                return True
            said = (await self.ask("GET", f"{self._at(server)}/progress"))[1]
        elif status == 400 and "already" in said:
            return True
        self._soak.report.failures.append((began, time.monotonic(), said))
        return False

    async def _settled(self, server: str) -> bool:
        return not (await self.servers()).get(server, {}).get("pending")

    async def visit(self, server: str = "") -> None:
        """Reach the server by way of the proxy; it may have been killed meanwhile."""
        path = f"/user/{self.name}/{server}/api".replace("//", "/")
        status, _ = await self.ask("GET", path, allow_redirects=False)
        self._soak.report.did["visit" if status in {200, 404} else "visit in vain"] += 1

    async def stop(self, server: str = "") -> None:
        await self.ask("DELETE", self._at(server))
        await until(lambda: self._settled(server), timeout=120, interval=0.2, what=f"{self.name} is stopped")
        self._soak.report.did["stop"] += 1

    async def cancel(self) -> None:
        """Go away while a server starts, and have it stopped."""
        task = asyncio.create_task(self._http.post(self._hub + self._at(""), headers={"X-XSRFToken": self._xsrf()}))
        await asyncio.wait([task], timeout=self._soak.chance.random() / 4)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await until(lambda: self._settled(""), timeout=120, interval=0.2, what=f"{self.name}'s start has ended")
        await self.stop()
        self._soak.report.did["cancel"] += 1


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
        # Rows that JupyterHub leaves where a fault cuts it short: it knows the tokens of servers that it has started
        # itself only, and keeps those of servers whose stop has failed.
        self._forgiven = 0

    async def close(self) -> None:
        for person in [*self.people, self.admin]:
            await person.close()
        self._engine.close()

    # The time itself

    async def run(self, seconds: float) -> None:
        """The hub is replaced in the first third only: from then on one process is looked at."""
        began = time.monotonic()
        await self._sign_admin_in()
        # The first server brings those that all servers share.
        first = self.people[0]
        await first.sign_in()
        assert await first.start()
        await first.stop()
        self._kits_networks = self._networks()
        living = [asyncio.create_task(self._live(person)) for person in self.people]
        try:
            faults = self._faults()
            for part in range(3):
                kinds = self._of_the_hub() | faults if part == 0 else faults
                # The last part has all that have not been yet.
                needed = set(self._of_the_hub() if part == 0 else faults if part == 2 else ())
                await self._trouble(kinds, needed, began + seconds * (part + 1) / 3)
                self.report.process.append(self.process())
            self._over = True
            await asyncio.gather(*living)
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
                    if await person.start():
                        await person.visit()
                        # Some stay, for faults to hit.
                        if chance.random() < 0.7:
                            await person.stop()
                elif what == "named":
                    if await person.start("second"):
                        await person.visit("second")
                        await person.stop("second")
                elif what == "cancel":
                    await person.cancel()
                elif what == "sign in":
                    await person.sign_in()
                else:
                    await self._delete(person)

    async def _delete(self, person: Person) -> None:
        async with self._calm:
            for server in await person.servers():
                await person.stop(server)
            status, said = await self.admin.ask("DELETE", f"/hub/api/users/{person.name}")
            assert status == 204, said
        await person.sign_in()
        self.report.did["delete"] += 1

    # Faults

    async def _trouble(self, kinds: dict[str, Callable[[], Any]], needed: set[str], end: float) -> None:
        """Faults until `end`, and until all that are `needed` have been; first those that have not been yet."""
        seen = {name for _, _, name in self.report.faults}
        while time.monotonic() < end or not needed <= seen:
            name = self.chance.choice(sorted(kinds.keys() - seen) or sorted(kinds))
            seen.add(name)
            async with self._calm:
                began = time.monotonic()
                self._forgiven += len(self.kit.servers()) if name == "hub killed" else AT_ONCE // 3
                await asyncio.to_thread(kinds[name])
                await until(self._is_well, timeout=120, interval=0.2, what=f"all is well after {name}")
                self.report.faults.append((began, time.monotonic(), name))
            calm = time.monotonic() + self.chance.uniform(1, 5)
            await until(lambda calm=calm: _past(calm), timeout=60)  # type: ignore[misc]

    async def _is_well(self) -> bool:
        return (await self.admin.ask("GET", "/hub/health"))[0] == 200

    def _of_the_hub(self) -> dict[str, Callable[[], Any]]:
        return {"hub killed": lambda: self.kit.container("hub").restart(timeout=0)}

    def _faults(self) -> dict[str, Callable[[], Any]]:
        return {
            "server killed": lambda: self._hit(lambda server: server.kill()),
            "server removed": lambda: self._hit(lambda server: server.remove(force=True)),
            "engine slow": lambda: self._slow(4),
            "engine stalled": lambda: self._slow(1),
            # With it go all calls that are under way, and the stream of events.
            "gate killed": lambda: self.kit.container("gate").restart(timeout=0),
            "proxy killed": lambda: self.kit.container("proxy").restart(timeout=0),
        }

    def _hit(self, how: Callable[[Any], Any]) -> None:
        if servers := self.kit.servers():
            # It may have gone by itself.
            with suppress(APIError):
                how(self.chance.choice(servers))

    def _slow(self, seconds: float) -> None:
        """Nothing is lost, everything is late."""
        gate = self.kit.container("gate")
        gate.pause()
        over = time.monotonic() + seconds
        wait_until(lambda: time.monotonic() > over, timeout=60)
        gate.unpause()

    # The books

    def process(self) -> dict[str, int]:
        return dict(self._in_the_hub(PROCESS))

    def _in_the_hub(self, code: str) -> Any:
        done = self.kit.container("hub").exec_run(["python3", "-c", code])
        assert done.exit_code == 0, done.output
        return json.loads(done.output)

    def _networks(self) -> list[str]:
        return sorted(network.name for network in self._engine.networks.list() if self.kit.project in network.name)

    async def books(self) -> dict[str, tuple[Any, Any]]:
        """By what is counted: what is there, and what should be."""
        project = self.kit.project
        _, text = await self.admin.ask("GET", "/hub/api/users?limit=200")
        users = {user["name"]: user["servers"] for user in json.loads(text)}
        ready = sorted(f"{name}/{server}" for name, servers in users.items() for server in servers)
        containers = [server.labels for server in self.kit.servers()]
        listed = json.loads((await self.admin.ask("GET", "/hub/api/proxy"))[1])
        paths = {"/", "/hub/"} | {f"/user/{one.rstrip('/')}/" for one in ready}
        volumes = [volume.name for volume in self._engine.volumes.list() if f"{project}-home-" in volume.name]
        self.report.rows = rows = self._in_the_hub(ROWS)
        return {
            "containers": (sorted(f"{c['dockyard.user']}/{c['dockyard.server']}" for c in containers), ready),
            "volumes": (sorted(set(volumes) - {f"{project}-home-{name}" for name in users}), []),
            "networks": (self._networks(), self._kits_networks),
            "routes": (sorted(listed), sorted(paths)),
            "rows of servers": ((rows["servers"], rows["running"]), (len(ready), len(ready))),
            "rows of users": (rows["users"], len(users)),
            "codes of sign-ins": (rows["codes"], 0),
            "OAuth clients": (max(0, rows["clients"] - len(ready) - self._forgiven), 0),
            "tokens of servers": (max(0, rows["server tokens"] - len(ready) - self._forgiven), 0),
        }


async def _past(when: float) -> bool:
    return time.monotonic() >= when

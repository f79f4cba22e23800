"""One of a soak's users, as a browser and the API see them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import requests
from websockets.exceptions import WebSocketException

from support.soakreport import Start
from support.user import Refused
from support.wait import until

if TYPE_CHECKING:
    from support.soak import Soak


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

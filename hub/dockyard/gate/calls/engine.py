"""The calls of DockerSpawner: what is looked at, and what is sent to the engine in the end."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from dockyard.gate import strict
from dockyard.gate.calls import answers, described
from dockyard.gate.calls.owned import Owned
from dockyard.gate.policy import checks, models
from dockyard.gate.policy.allowed import Allowed
from dockyard.gate.strict import Json, Refused
from dockyard.gate.upstream import Answer, Engine, Request

# Where a server finds its keys, and the files that the hub puts there.
CERTS = "/jupyterhub-ssl"
KEYS = {"key.pem", "cert.pem", "ca.pem"}


@dataclass(frozen=True)
class Call:
    """A parsed request: `names` are those in its path, `auth` is a registry's password.

    `about` has further entries for the log.
    """

    version: str
    names: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes = b""
    auth: str = ""
    about: Json = field(default_factory=dict)

    @property
    def json(self) -> Json:
        return strict.json_object(self.body)


@dataclass(frozen=True)
class Relay:
    """An answer that is handed on as it comes. `keep` looks at each line of it, and None keeps it back."""

    request: Request
    keep: Callable[[Json], Json | None] | None = None
    # The connection itself becomes the stream.
    upgrade: bool = False


Outcome = Answer | Relay


@dataclass
class Calls:
    engine: Engine
    allowed: Allowed
    owned: Owned = field(init=False)

    def __post_init__(self) -> None:
        self.owned = Owned(self.engine, self.allowed)

    async def _send(
        self,
        call: Call,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Json | bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        return await self.engine.ask(Request(method, path, query, body, headers), call.version)

    def _registry(self, call: Call) -> dict[str, str]:
        return {"X-Registry-Auth": call.auth} if call.auth else {}

    # The engine

    async def ping(self, call: Call) -> Outcome:
        return await self._send(call, "GET", "/_ping")

    async def version(self, call: Call) -> Outcome:
        return await self._send(call, "GET", "/version")

    async def info(self, call: Call) -> Outcome:
        answer = await self._send(call, "GET", "/info")
        return answer.replaced(answers.info(answer.json())) if answer.ok else answer

    async def events(self, call: Call) -> Outcome:
        filters = strict.label_filters(call.query.get("filters", ""))
        if not set(filters) <= {"type", "event", "label"} or not filters.get("type"):
            raise Refused("Events are told of by type, event and label.")
        query = {"filters": json.dumps(filters)}
        for name in ("since", "until"):
            if value := call.query.get(name):
                if not _is_number(value.replace(".", "", 1)):
                    raise Refused(f"The query's {name} is no time.", 400)
                query[name] = value
        known = self.owned.containers
        return Relay(Request("GET", "/events", query), keep=lambda told: answers.event(self.allowed, known, told))

    # Containers

    @staticmethod
    def _labels(call: Call) -> list[str]:
        """The labels asked for. By other filters an engine tells what others have."""
        filters = strict.label_filters(call.query.get("filters", ""))
        if filters.keys() - {"label"}:
            raise Refused("Things are listed by label.")
        return filters.get("label", [])

    def _own_filters(self, call: Call) -> str:
        """The filters asked for; where they let others' things through, the owner's beside them."""
        labels = self._labels(call)
        if not checks.names_of_ours(self.allowed, labels):
            labels.append(f"{checks.INSTANCE}={self.allowed.project}")
            if any(label.partition("=")[0] == checks.INSTANCE for label in labels[:-1]):
                raise Refused(f"The label {checks.INSTANCE} is {self.allowed.project}: others' things are not listed.")
        return json.dumps({"label": labels})

    async def containers(self, call: Call) -> Outcome:
        everything = "1" if strict.switch(call.query, "all") else "0"
        labels = self._labels(call)
        # By which the hub finds the proxy and itself.
        of_kit = f"{answers.PROJECT}={self.allowed.project}" in labels
        query = {"all": everything, "filters": json.dumps({"label": labels}) if of_kit else self._own_filters(call)}
        answer = await self._send(call, "GET", "/containers/json", query)
        if answer.ok and of_kit:
            told = (answers.listed(self.allowed, one) for one in answer.json())
            answer = answer.replaced([one for one in told if one])
        if answer.ok:
            # Events of networks name them by no more than their ids.
            self.owned.listed_containers(answer)
        return answer

    async def create_container(self, call: Call) -> Outcome:
        name = checks.name(self.allowed, call.query.get("name", ""), "container")
        order = checks.container(self.allowed, call.json)
        call.about.update(described.container(order.body))
        for volume in order.volumes:
            await self.owned.check_volume(call.version, volume)
        for network in order.networks:
            await self.owned.check_network(call.version, network)
        answer = await self._send(call, "POST", "/containers/create", {"name": name}, order.body)
        if answer.status == 400 and b"bind source path does not exist" in answer.body:
            # Users must not read the engine's sentence, which contains the path.
            raise Refused(
                f"A path of the host does not exist: create it. The engine's answer: {answer.json()['message']}", 400
            )
        if answer.ok and checks.owner(order.body["Labels"], checks.INSTANCE):
            self.owned.made_container(answer.json()["Id"])
        return answer

    async def inspect_container(self, call: Call) -> Outcome:
        answer, _ = await self.owned.inspect(call.version, call.names["name"], kit=True)
        return answer

    async def _container(self, call: Call, helper: bool = True) -> str:
        return f"/containers/{await self.owned.container(call.version, call.names['name'], helper)}"

    async def logs(self, call: Call) -> Outcome:
        query = self._of_a_log(call)
        return Relay(Request("GET", f"{await self._container(call)}/logs", query))

    @staticmethod
    def _of_a_log(call: Call) -> dict[str, str]:
        """The query of a log that ends."""
        if strict.switch(call.query, "follow") or strict.switch(call.query, "details"):
            raise Refused("A log is read, not followed, and without details.")
        tail = call.query.get("tail", "all")
        if tail != "all" and not _is_number(tail):
            raise Refused("The query's tail is no number of lines.", 400)
        known = ("stdout", "stderr", "timestamps")
        return {name: str(int(strict.switch(call.query, name))) for name in known} | {"tail": tail}

    async def start(self, call: Call) -> Outcome:
        return await self._send(call, "POST", f"{await self._container(call)}/start")

    async def stop(self, call: Call) -> Outcome:
        seconds = call.query.get("t")
        if seconds is not None and not re.fullmatch(r"-?[0-9]{1,9}", seconds):
            raise Refused("The query's t is not a number of seconds.", 400)
        query = {"t": _stop_seconds(int(seconds))} if seconds is not None else None
        return await self._send(call, "POST", f"{await self._container(call)}/stop", query)

    async def pause(self, call: Call) -> Outcome:
        return await self._send(call, "POST", f"{await self._container(call)}/pause")

    async def unpause(self, call: Call) -> Outcome:
        return await self._send(call, "POST", f"{await self._container(call)}/unpause")

    async def rename(self, call: Call) -> Outcome:
        name = checks.name(self.allowed, call.query.get("name", ""), "container")
        return await self._send(call, "POST", f"{await self._container(call)}/rename", {"name": name})

    async def remove_container(self, call: Call) -> Outcome:
        if strict.switch(call.query, "link"):
            raise Refused("Links are not removed.")
        query = {name: str(int(strict.switch(call.query, name))) for name in ("v", "force")}
        path = await self._container(call)
        answer = await self._send(call, "DELETE", path, query)
        if answer.ok:
            self.owned.forget_container(path.rpartition("/")[2])
        return answer

    async def execute(self, call: Call) -> Outcome:
        container_id = await self.owned.container(call.version, call.names["name"], helper=False)
        order = checks.read(models.Exec, call.json).model_dump(exclude_unset=True) | {"Container": container_id}
        call.about.update(described.command(order))
        answer = await self._send(call, "POST", f"/containers/{container_id}/exec", body=order)
        if answer.ok:
            self.owned.made_exec(answer.json()["Id"], container_id)
        return answer

    async def start_exec(self, call: Call) -> Outcome:
        order = checks.read(models.ExecStart, call.json).model_dump(exclude_unset=True)
        await self.owned.check_exec(call.version, call.names["id"])
        return Relay(Request("POST", f"/exec/{call.names['id']}/start", body=order), upgrade=True)

    async def inspect_exec(self, call: Call) -> Outcome:
        await self.owned.check_exec(call.version, call.names["id"])
        return await self._send(call, "GET", f"/exec/{call.names['id']}/json")

    @staticmethod
    def _archived(call: Call) -> str:
        path = call.query.get("path", "")
        if not path.startswith("/") or ".." in PurePosixPath(path).parts or "\0" in path:
            raise Refused("The query's path is no absolute path in the container.", 400)
        return path

    async def get_archive(self, call: Call) -> Outcome:
        path = self._archived(call)
        return Relay(Request("GET", f"{await self._container(call, helper=False)}/archive", {"path": path}))

    async def put_archive(self, call: Call) -> Outcome:
        if self._archived(call) != CERTS:
            raise Refused(f"Files are put into {CERTS} only.")
        packed = repacked(call.body)
        path = f"{await self._container(call, helper=False)}/archive"
        return await self._send(call, "PUT", path, {"path": CERTS}, packed, {"Content-Type": "application/x-tar"})

    # Images

    async def inspect_image(self, call: Call) -> Outcome:
        image = call.names["image"]
        if not self.allowed.image(image):
            raise Refused(f"No such image: {image}", 404)
        return await self._send(call, "GET", f"/images/{image}/json")

    async def pull(self, call: Call) -> Outcome:
        query = checks.pulled(self.allowed, call.query.get("fromImage", ""), call.query.get("tag", ""))
        return Relay(Request("POST", "/images/create", query, headers=self._registry(call)))

    # Volumes

    async def volumes(self, call: Call) -> Outcome:
        return await self._send(call, "GET", "/volumes", {"filters": self._own_filters(call)})

    async def create_volume(self, call: Call) -> Outcome:
        order = checks.volume(self.allowed, call.json)
        call.about.update(described.thing(order.body))
        for volume in order.volumes:
            await self.owned.check_volume(call.version, volume)
        return await self._send(call, "POST", "/volumes/create", body=order.body)

    async def inspect_volume(self, call: Call) -> Outcome:
        answer, _ = await self.owned.volume(call.version, call.names["name"])
        return answer

    async def remove_volume(self, call: Call) -> Outcome:
        name = call.names["name"]
        _, found = await self.owned.volume(call.version, name)
        if not answers.is_ours(self.allowed, found.get("Labels")):
            raise Refused(f"Volume {name} does not have this hub's label, so the hub can't remove it.")
        return await self._send(call, "DELETE", f"/volumes/{name}")

    # Networks

    async def networks(self, call: Call) -> Outcome:
        if strict.label_filters(call.query.get("filters", "")):
            raise Refused("Networks are listed without filters.")
        answer = await self._send(call, "GET", "/networks")
        return answer.replaced([answers.network(self.allowed, one) for one in answer.json()]) if answer.ok else answer

    async def create_network(self, call: Call) -> Outcome:
        order = checks.network(self.allowed, call.json)
        call.about.update(described.thing(order.body))
        answer = await self._send(call, "POST", "/networks/create", body=order.body)
        if answer.ok:
            self.owned.forget_network_called(order.body["Name"])
        return answer

    async def inspect_network(self, call: Call) -> Outcome:
        answer, _ = await self.owned.network(call.version, call.names["name"])
        return answer

    async def remove_network(self, call: Call) -> Outcome:
        if call.names["name"] == checks.DEAD_END:
            raise Refused(f"Network {checks.DEAD_END} is all hubs'.")
        network_id = await self.owned.own_network(call.version, call.names["name"])
        answer = await self._send(call, "DELETE", f"/networks/{network_id}")
        self.owned.forget_network(network_id)
        return answer

    async def connect(self, call: Call) -> Outcome:
        asked = checks.read(models.Connect, call.json)
        call.about["container"] = asked.Container
        name = call.names["name"]
        # All hubs' servers are there.
        alone = name == checks.DEAD_END
        network = name if alone else await self.owned.own_network(call.version, name)
        _, container = await self.owned.inspect(call.version, asked.Container, kit=not alone)
        order = asked.model_dump(exclude_unset=True) | {"Container": container["Id"]}
        if (
            asked.EndpointConfig
            and asked.EndpointConfig.Aliases
            and not answers.is_attached(self.allowed, container["Config"].get("Labels"))
        ):
            raise Refused("Only the hub and the proxy have other names on a network.")
        return await self._on_network(call, network, "connect", order)

    async def disconnect(self, call: Call) -> Outcome:
        asked = checks.read(models.Disconnect, call.json)
        call.about["container"] = asked.Container
        order = asked.model_dump(exclude_unset=True)
        if (network := call.names["name"]) == checks.DEAD_END:
            # Others' servers are there, too.
            order["Container"] = await self.owned.container(call.version, asked.Container)
        else:
            network = await self.owned.own_network(call.version, network)
            # By the name that was given, which may be all that is left of it.
            await self.owned.check_leaving(call.version, asked.Container, network)
        return await self._on_network(call, network, "disconnect", order)

    async def _on_network(self, call: Call, network_id: str, what: str, order: Json) -> Answer:
        answer = await self._send(call, "POST", f"/networks/{network_id}/{what}", body=order)
        if answer.status == 404:
            # It may have been removed by hand, and there may be another of its name by now.
            self.owned.forget_network(network_id)
        return answer


def _stop_seconds(asked: int) -> str:
    """Limit the seconds that a stop may take. For the engine, a negative number means no limit."""
    return str(asked if 0 <= asked <= models.LONGEST_STOP else models.LONGEST_STOP)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def repacked(packed: bytes) -> bytes:
    """An archive of the keys, made anew. Refused: anything else in it."""
    result = io.BytesIO()
    try:
        with (
            tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as given,
            tarfile.open(fileobj=result, mode="w") as tar,
        ):
            for entry in given:
                # A sparse one says in a few bytes that it is huge; after a negative size comes what was before.
                is_plain = entry.isreg() and not entry.issparse() and entry.size >= 0
                if entry.name not in KEYS or not is_plain or entry.mode & ~0o777:
                    raise Refused(f"The archive has {entry.name[:100]!r}, which is none of a server's keys.")
                anew = tarfile.TarInfo(entry.name)
                anew.size, anew.mode, anew.uid, anew.gid = entry.size, entry.mode, entry.uid, entry.gid
                tar.addfile(anew, given.extractfile(entry))
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, RecursionError):
        raise Refused("The body is no archive.", 400) from None
    return result.getvalue()

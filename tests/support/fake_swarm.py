"""A fake of the Docker client of a swarm's manager: it keeps services, tasks and nodes in dicts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from docker.errors import NotFound

from support.fake_engine import FakeStream, api_error


class FakeSwarm:
    """Answers like a manager whose tasks run at once, each on the first node that is ready.

    `born` is the state in which new tasks are, with `error`. `fail` maps a method to what it raises, once for each
    entry; `calls` has the methods in order with the filters of questions.
    """

    def __init__(self, network: str = "users") -> None:
        self.network = network
        self.services_there: dict[str, dict[str, Any]] = {}
        self.tasks_there: dict[str, dict[str, Any]] = {}
        self.nodes_there = {name: node(name) for name in ("n1", "n2")}
        self.secrets_there: dict[str, dict[str, Any]] = {}
        self.volumes_there: dict[str, dict[str, Any]] = {}
        self.born, self.error = "running", ""
        self.calls: list[tuple[str, Any]] = []
        self.fail: dict[str, list[Exception]] = {}
        self.streams: list[FakeStream] = []
        self.asked: list[dict[str, Any]] = []
        self._numbers = itertools.count(1)

    def _call(self, method: str, about: Any = None) -> None:
        self.calls.append((method, about))
        if self.fail.get(method):
            raise self.fail[method].pop(0)

    def count(self, method: str) -> int:
        return sum(called == method for called, _ in self.calls)

    def create_service(self, **spec: Any) -> dict[str, Any]:
        self._call("create_service")
        if any(one["Spec"]["Name"] == spec["name"] for one in self.services_there.values()):
            raise api_error(409, "rpc error: code = AlreadyExists desc = name conflicts with an existing object")
        self.asked.append(spec)
        service_id = f"id-of-{spec['name']}-{next(self._numbers)}"
        described = {"Name": spec["name"], "Labels": spec["labels"], "TaskTemplate": spec["task_template"]}
        self.services_there[service_id] = {"ID": service_id, "Spec": described}
        self.add_task(service_id)
        return {"ID": service_id}

    async def is_asked(self) -> bool:
        return bool(self.services_there)

    def add_task(self, service_id: str) -> dict[str, Any]:
        number = next(self._numbers)
        template = self.services_there[service_id]["Spec"]["TaskTemplate"]
        constraints = template.get("Placement", {}).get("Constraints") or ()
        asked = [text.partition("==")[2] for text in constraints if text.startswith("node.id")]
        ready = [name for name, one in self.nodes_there.items() if one["Status"]["State"] == "ready"]
        task = self.tasks_there[f"task-{number}"] = {
            "ID": f"task-{number}",
            "ServiceID": service_id,
            "NodeID": (asked or ready)[0],
            "Version": {"Index": number},
            "DesiredState": "running",
            "Spec": template,
            "Status": {"State": self.born, "Err": self.error, "ContainerStatus": {"ExitCode": 0}},
            "NetworksAttachments": [{"Network": {"Spec": {"Name": self.network}}, "Addresses": ["127.0.0.1/24"]}],
        }
        return task

    def task_of(self, service_id: str) -> dict[str, Any]:
        return next(task for task in self.tasks_there.values() if task["ServiceID"] == service_id)

    def tasks(self, filters: dict[str, Any]) -> list[dict[str, Any]]:
        self._call("tasks", filters)
        if "service" in filters:
            wanted = filters["service"] if isinstance(filters["service"], list) else [filters["service"]]
            for one in wanted:
                if one not in self.services_there:
                    raise api_error(404, f"service {one} not found")
            return [task for task in self.tasks_there.values() if task["ServiceID"] in wanted]
        labels = set(filters["label"])
        return [task for task in self.tasks_there.values() if labels <= pairs(task["Spec"]["ContainerSpec"]["Labels"])]

    def services(self, filters: dict[str, Any]) -> list[dict[str, Any]]:
        self._call("services", filters)
        labels = set(filters["label"])
        return [one for one in self.services_there.values() if labels <= pairs(one["Spec"]["Labels"])]

    def _found(self, there: dict[str, Any], key: str, kind: str) -> Any:
        for identifier, one in there.items():
            if key in (identifier, one.get("Spec", {}).get("Name")):
                return one
        raise NotFound(f"{kind} {key} not found", response=api_error(404, "").response)

    def inspect_service(self, key: str) -> dict[str, Any]:
        self._call("inspect_service")
        return self._found(self.services_there, key, "service")  # type: ignore[no-any-return]

    def inspect_task(self, key: str) -> dict[str, Any]:
        self._call("inspect_task")
        return self._found(self.tasks_there, key, "task")  # type: ignore[no-any-return]

    def inspect_node(self, key: str) -> dict[str, Any]:
        self._call("inspect_node")
        return self._found(self.nodes_there, key, "node")  # type: ignore[no-any-return]

    def inspect_volume(self, name: str) -> dict[str, Any]:
        """Of the volumes on n1, the node that the client speaks to."""
        self._call("inspect_volume")
        return self._found(self.volumes_there, name, "volume")  # type: ignore[no-any-return]

    def info(self) -> dict[str, Any]:
        return {"Swarm": {"NodeID": "n1"}}

    def remove_service(self, key: str) -> None:
        """A task goes with its service, unless its node is lost: then it is to be removed as soon as that is back."""
        self._call("remove_service")
        service = self._found(self.services_there, key, "service")
        del self.services_there[service["ID"]]
        for task in [task for task in self.tasks_there.values() if task["ServiceID"] == service["ID"]]:
            if self.nodes_there.get(task["NodeID"], {}).get("Status", {}).get("State") == "ready":
                del self.tasks_there[task["ID"]]
            else:
                task["DesiredState"] = "remove"

    def create_secret(self, name: str, data: bytes, labels: dict[str, str]) -> dict[str, Any]:
        self._call("create_secret")
        self.secrets_there[f"id-of-{name}"] = {"ID": f"id-of-{name}", "data": data, "Spec": {"Labels": labels}}
        return {"ID": f"id-of-{name}"}

    def secrets(self, filters: dict[str, Any]) -> list[dict[str, Any]]:
        self._call("secrets", filters)
        labels = set(filters["label"])
        return [one for one in self.secrets_there.values() if labels <= pairs(one["Spec"]["Labels"])]

    def remove_secret(self, key: str) -> None:
        self._call("remove_secret")
        del self.secrets_there[key]

    def lose(self, name: str) -> None:
        """A node is down; the swarm gives up its tasks, whose last state was running."""
        self.nodes_there[name]["Status"]["State"] = "down"
        for task in self.tasks_there.values():
            if task["NodeID"] == name:
                task["DesiredState"] = "shutdown"
        self.emit("node", "update", name, **{"state.new": "down", "state.old": "ready"})

    def back(self, name: str) -> None:
        """A node is back, and has ended what it was to end."""
        self.nodes_there[name]["Status"]["State"] = "ready"
        gone = [one["ID"] for one in self.tasks_there.values() if one["DesiredState"] == "remove"]
        for task_id in gone:
            del self.tasks_there[task_id]

    def end(self, service_id: str, state: str = "failed", code: int = 1, error: str = "") -> None:
        self.task_of(service_id)["Status"] = {"State": state, "Err": error, "ContainerStatus": {"ExitCode": code}}

    def service_logs(self, key: str, **_: Any) -> Iterator[bytes]:
        self._call("service_logs")
        yield b"last line"

    def events(self, filters: dict[str, Any], decode: bool) -> FakeStream:
        self.streams.append(FakeStream())
        return self.streams[-1]

    def emit(self, kind: str, action: str, key: str, **attributes: str) -> None:
        for stream in self.streams:
            stream.events.put({"Type": kind, "Action": action, "Actor": {"ID": key, "Attributes": attributes}})


def node(name: str, state: str = "ready", availability: str = "active") -> dict[str, Any]:
    return {
        "ID": name,
        "Spec": {"Availability": availability},
        "Description": {"Hostname": f"host-{name}"},
        "Status": {"State": state, "Addr": "127.0.0.1"},
        "UpdatedAt": "2026-01-01T00:00:00.123456789Z",
    }


def pairs(labels: dict[str, str]) -> set[str]:
    return {f"{name}={value}" for name, value in labels.items()}

"""The swarm that a fake engine manages: nodes, services of one task each, and what orders do to them.

Tasks run as soon as they are there. Keys and defaults are those of engine 26.1 (API 1.45).
"""

from __future__ import annotations

import time
from typing import Any

from support.engine_server import shapes
from support.engine_server.events import Events, Filters, has_label
from support.engine_server.shapes import Json, stamp
from support.engine_server.state import ADDRESS, Refusal

NOT_A_MANAGER = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
    "and try again."
)


def short_id(name: str) -> str:
    """As long as the ids of a swarm's objects are."""
    return shapes.object_id(name)[:25]


class Swarm:
    """`port` is where every task answers, `is_managed` whether this engine is a manager of it."""

    def __init__(self, events: Events, port: int, is_managed: bool) -> None:
        self._events = events
        self._port = port
        self._is_managed = is_managed
        self._index = 10
        self.services: dict[str, Json] = {}
        self.names: dict[str, str] = {}
        # By the service's id.
        self.tasks: dict[str, Json] = {}
        roles = ["manager", "worker", "worker"]
        self.nodes = {short_id(f"node {n}"): self._node(n, role) for n, role in enumerate(roles)}

    def must_be_managed(self) -> None:
        if not self._is_managed:
            raise Refusal(503, NOT_A_MANAGER)

    def info(self) -> Json:
        first = next(iter(self.nodes))
        known = {
            "NodeID": first,
            "NodeAddr": ADDRESS,
            "LocalNodeState": "active",
            "Error": "",
            "Nodes": 3,
            "Managers": 1,
        }
        inactive = {"NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "Error": "", "RemoteManagers": None}
        return {**(known if self._is_managed else inactive), "ControlAvailable": self._is_managed}

    def _next(self) -> Json:
        self._index += 1
        return {"Index": self._index}

    def _node(self, number: int, role: str) -> Json:
        now = stamp(time.time_ns())
        status = {"State": "ready", "Addr": ADDRESS}
        resources = {"NanoCPUs": 2 * 10**9, "MemoryBytes": 2**33}
        manager = {"ManagerStatus": {"Leader": True, "Reachability": "reachable", "Addr": f"{ADDRESS}:2377"}}
        return {
            "ID": short_id(f"node {number}"),
            "Version": {"Index": 9},
            "CreatedAt": now,
            "UpdatedAt": now,
            "Spec": {"Labels": {}, "Role": role, "Availability": "active"},
            "Description": {
                "Hostname": f"node-{number}",
                "Platform": {"Architecture": "x86_64", "OS": "linux"},
                "Resources": resources,
                "Engine": {"EngineVersion": "26.1.5", "Plugins": []},
                "TLSInfo": {},
            },
            "Status": status,
            **(manager if role == "manager" else {}),
        }

    # Services

    def find(self, key: str) -> Json:
        found = self.services.get(self.names.get(key, key))
        if found is None:
            raise Refusal(404, f"service {key} not found")
        return found

    def create(self, asked: Json) -> Json:
        name = asked["Name"]
        if name in self.names:
            conflict = f"name conflicts with an existing object: service {name} already exists"
            raise Refusal(409, f"rpc error: code = AlreadyExists desc = {conflict}")
        service = self.add(asked)
        self._event("service", "create", service["ID"], name)
        return service

    def add(self, asked: Json) -> Json:
        """A service whose task runs, as a node that has the least to do has it."""
        service_id, now = short_id(f"service {asked['Name']} {self._index}"), stamp(time.time_ns())
        service: Json = {
            "ID": service_id,
            "Version": self._next(),
            "CreatedAt": now,
            "UpdatedAt": now,
            "Spec": asked,
            "Endpoint": {"Spec": asked.get("EndpointSpec") or {}},
        }
        self.services[service_id], self.names[asked["Name"]] = service, service_id
        self.tasks[service_id] = self._task(service)
        return service

    def _task(self, service: Json) -> Json:
        spec, now = service["Spec"], stamp(time.time_ns())
        task_id = short_id(f"task of {service['ID']}")
        container = {"ContainerID": shapes.object_id(task_id), "PID": 4242, "ExitCode": 0}
        ports = (spec.get("EndpointSpec") or {}).get("Ports") or []
        published = [{**port, "PublishedPort": self._port} for port in ports]
        node_id = list(self.nodes)[len(self.tasks) % len(self.nodes)]
        return {
            "ID": task_id,
            "Version": self._next(),
            "CreatedAt": now,
            "UpdatedAt": now,
            "Labels": {},
            "Spec": spec["TaskTemplate"],
            "ServiceID": service["ID"],
            "Slot": 1,
            "NodeID": node_id,
            "Status": {
                "Timestamp": now,
                "State": "running",
                "Message": "started",
                "ContainerStatus": container,
                # Twice, as the engine has them.
                "PortStatus": {"Ports": published * 2} if published else {},
            },
            "DesiredState": "running",
            "NetworksAttachments": [self._attachment(one) for one in spec["TaskTemplate"].get("Networks") or ()],
        }

    def _attachment(self, asked: Json) -> Json:
        name, now = asked["Target"], stamp(time.time_ns())
        network = {
            "ID": short_id(f"network {name}"),
            "Version": {"Index": 8},
            "CreatedAt": now,
            "UpdatedAt": now,
            "Spec": {
                "Name": name,
                "Labels": {},
                "DriverConfiguration": {"Name": "overlay"},
                "Attachable": True,
                "IPAMOptions": {"Driver": {"Name": "default"}},
                "Scope": "swarm",
            },
            "DriverState": {"Name": "overlay", "Options": {"com.docker.network.driver.overlay.vxlanid_list": "4097"}},
            "IPAMOptions": {"Driver": {"Name": "default"}, "Configs": [{"Subnet": "127.0.0.0/8"}]},
        }
        return {"Network": network, "Addresses": [f"{ADDRESS}/8"]}

    def remove(self, key: str) -> None:
        service = self.find(key)
        name = service["Spec"]["Name"]
        del self.services[service["ID"]], self.names[name], self.tasks[service["ID"]]
        self._event("service", "remove", service["ID"], name)

    # Behind the backs of clients

    def end(self, key: str, code: int) -> None:
        """The server of a service ends by itself; no event tells of it."""
        task = self.tasks[self.find(key)["ID"]]
        task["Status"] |= {"State": "failed" if code else "complete", "Message": "finished"}
        task["Status"]["ContainerStatus"] |= {"ExitCode": code, "PID": 0}
        if code:
            task["Status"] |= {"Message": "started", "Err": f"task: non-zero exit ({code})"}
        task |= {"DesiredState": "shutdown", "Version": self._next()}

    def set_node(self, number: int, state: str) -> None:
        """A node is down or ready; its tasks are given up when it is down."""
        node = self.nodes[short_id(f"node {number}")]
        old = node["Status"]["State"]
        node["Status"] |= {"State": state} | ({"Message": "heartbeat failure"} if state == "down" else {})
        node |= {"UpdatedAt": stamp(time.time_ns()), "Version": self._next()}
        for task in self.tasks.values():
            if state == "down" and task["NodeID"] == node["ID"]:
                task |= {"DesiredState": "shutdown", "Version": self._next()}
        more = {"state.new": state, "state.old": old}
        self._event("node", "update", node["ID"], node["Description"]["Hostname"], **more)

    def _event(self, kind: str, action: str, object_id: str, name: str, **more: str) -> None:
        self._events.other(kind, action, object_id, scope="swarm", name=name, **more)

    # Lists

    def listed_services(self, filters: Filters) -> list[Json]:
        return [one for one in self.services.values() if self._passes(one, filters)]

    def _passes(self, service: Json, filters: Filters) -> bool:
        name, labels = service["Spec"]["Name"], service["Spec"].get("Labels") or {}
        checks: dict[str, Any] = {
            "name": lambda wanted: name.startswith(wanted),
            "id": lambda wanted: service["ID"].startswith(wanted),
            "label": lambda wanted: has_label(labels, wanted),
        }
        return _all_pass(checks, filters)

    def listed_tasks(self, filters: Filters) -> list[Json]:
        for key in filters.get("service", ()):
            self.find(key)
        return [task for task in self.tasks.values() if self._task_passes(task, filters)]

    def _task_passes(self, task: Json, filters: Filters) -> bool:
        service = self.services[task["ServiceID"]]
        labels = service["Spec"].get("Labels") or {}
        checks: dict[str, Any] = {
            "service": lambda wanted: wanted in (service["ID"], service["Spec"]["Name"]),
            "label": lambda wanted: has_label(labels, wanted),
            "id": lambda wanted: task["ID"].startswith(wanted),
            "node": lambda wanted: task["NodeID"] == wanted,
            "desired-state": lambda wanted: task["DesiredState"] == wanted,
        }
        return _all_pass(checks, filters)

    def task(self, key: str) -> Json:
        found = next((task for task in self.tasks.values() if task["ID"].startswith(key)), None)
        if found is None:
            raise Refusal(404, f"task {key} not found")
        return found

    def node(self, key: str) -> Json:
        for node in self.nodes.values():
            if key == "self" or node["ID"].startswith(key) or node["Description"]["Hostname"] == key:
                return node
        raise Refusal(404, f"node {key} not found")


def _all_pass(checks: dict[str, Any], filters: Filters) -> bool:
    """Of several values of one filter any will do, of labels all are needed."""
    return all(
        (all if name == "label" else any)(checks[name](value) for value in values)
        for name, values in filters.items()
        if name in checks
    )

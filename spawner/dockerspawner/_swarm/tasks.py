"""What the tasks of a service say of its server."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dockerspawner._records.ownership import Owner

# In the order in which a task goes through them.
STARTING = ("new", "allocated", "pending", "assigned", "accepted", "preparing", "ready", "starting")
ENDED = frozenset({"complete", "failed", "shutdown", "rejected", "remove", "orphaned"})
# Desired states of a task that the swarm has given up: lost with its node, or being stopped.
_GIVEN_UP = frozenset({"shutdown", "remove"})
_PLAIN_EXIT = re.compile(r"task: non-zero exit \(\d+\)")


@dataclass(frozen=True)
class Task:
    """One task, as a manager of the swarm knows it.

    `error` is the swarm's own words, empty where there is nothing wrong. `addresses` are those on each network, by its
    name, without the length of the prefix; `ports` are published on the node, by the container's own.
    """

    id: str
    service: str
    owner: Owner
    state: str
    wanted: str
    node: str = ""
    error: str = ""
    exit_code: int = 0
    version: int = 0
    addresses: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Task:
        """A task as `GET /tasks` has it."""
        status = answer.get("Status") or {}
        ports = (status.get("PortStatus") or {}).get("Ports") or ()
        return cls(
            id=answer["ID"],
            service=answer.get("ServiceID", ""),
            owner=Owner.of(answer["Spec"].get("ContainerSpec", {}).get("Labels") or {}),
            state=status.get("State", "new"),
            wanted=answer.get("DesiredState", ""),
            node=answer.get("NodeID", ""),
            error=status.get("Err", ""),
            exit_code=int((status.get("ContainerStatus") or {}).get("ExitCode") or 0),
            version=(answer.get("Version") or {}).get("Index", 0),
            addresses=_addresses(answer),
            ports={port["TargetPort"]: port["PublishedPort"] for port in ports if "PublishedPort" in port},
        )

    @property
    def alive(self) -> bool:
        """Does it run, or will it, as far as the swarm knows?"""
        return self.state not in ENDED and self.wanted not in _GIVEN_UP

    @property
    def occupies(self) -> bool:
        """May its process be there, as far as its node has told?"""
        return self.state not in ENDED and self.state not in STARTING[:5]

    @property
    def running(self) -> bool:
        return self.alive and self.state == "running"

    @property
    def complaint(self) -> str:
        """`error`, where it says more than the exit code does."""
        return "" if _PLAIN_EXIT.fullmatch(self.error) else self.error

    def as_inspected(self, service: str = "", node_address: str = "") -> dict[str, Any]:
        """State and addresses in the shape of an inspected container."""
        published = {
            f"{inner}/tcp": [{"HostIp": node_address, "HostPort": outer}] for inner, outer in self.ports.items()
        }
        return {
            "Id": service or self.service,
            "State": {"Status": self.state, "Running": self.alive, "ExitCode": self.exit_code, "Error": self.complaint},
            "HostConfig": {"NetworkMode": ""},
            "NetworkSettings": {
                "Networks": {name: {"IPAddress": address} for name, address in self.addresses.items()},
                "Ports": published,
            },
        }


def current(tasks: Iterable[Task]) -> Task | None:
    """Of a service's tasks the one that counts: one that lives, else the last."""
    return max(tasks, key=lambda task: (task.alive, task.version), default=None)


def _addresses(answer: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for attachment in answer.get("NetworksAttachments") or ():
        network = (attachment.get("Network") or {}).get("Spec") or {}
        name, addresses = network.get("Name", ""), attachment.get("Addresses") or ()
        # By the ingress network nobody reaches a task itself.
        if name and addresses and not network.get("Ingress"):
            found[name] = addresses[0].partition("/")[0]
    return found

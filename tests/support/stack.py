"""A kit on a swarm, and what its operator does with it from this machine."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from support.kit import Kit
from support.nested import Node
from support.probing import doors_of, opened_by_root, opened_by_user
from support.swarm import Swarm
from support.user import Kernel, User
from support.wait import wait_until

NAMESPACE = "com.docker.stack.namespace"
# Where a swarm has its networks. Outside of it the same addresses may be somebody else's, who answers.
OVERLAYS = "10.0.0.0/8"


class Stack:
    """`kit` on `swarm`; orders go to its manager, as with DOCKER_HOST."""

    def __init__(self, kit: Kit, swarm: Swarm) -> None:
        self.kit = kit
        self.swarm = swarm
        self.project = kit.project

    @property
    def url(self) -> str:
        public = self.kit.setting("PUBLIC_URL")
        return public or f"http://{self.swarm.managers[0].address}:{self.kit.port}"

    def run(self, *command: str, on: Node | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
        """A command in the kit's folder that speaks to a node's engine, the manager's where none is named."""
        environ = {"DOCKER_HOST": (on or self.swarm.manager).url, **options.pop("env", {})}
        return self.kit.run(*command, env=environ, **options)

    def make(self, *verb: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.run("make", *verb, **options)

    def up(self, on: Node | None = None) -> str:
        return self.make("swarm-up", on=on).stdout

    @contextmanager
    def removed(self) -> Iterator[None]:
        """In the end the stack is removed, which leaves nothing, and the kit destroyed."""
        try:
            yield
            self.make("swarm-down")
            self.wait_until_gone()
        finally:
            self.make("swarm-down", check=False)
            self.kit.destroy()

    def refused(self, *said: str, on: Node | None = None) -> str:
        """`make swarm-up` has to fail, saying all of `said`, and nothing runs afterwards that did not before."""
        before = self.services()
        done = self.make("swarm-up", on=on, check=False)
        assert done.returncode != 0, done.stdout
        for sentence in said:
            assert sentence in done.stdout, done.stdout
        assert self.services() == before
        return done.stdout

    def send_images(self, *to: Node) -> str:
        """With scripts/image-to-nodes, from this machine's engine."""
        return self.kit.run("scripts/image-to-nodes", *(node.url for node in to or self.swarm.nodes)).stdout

    def services(self) -> dict[str, str]:
        """Id of each service of the stack, by its short name."""
        found = self.swarm.client.api.services(filters={"label": f"{NAMESPACE}={self.project}"})
        return {one["Spec"]["Name"].removeprefix(f"{self.project}_"): one["ID"] for one in found}

    def servers(self) -> list[str]:
        """Names of the services of users' servers."""
        found = self.swarm.client.api.services(filters={"label": f"dockyard.instance={self.project}"})
        return sorted(one["Spec"]["Name"] for one in found)

    def task(self, service: str) -> str:
        """Id of the running task of one of the stack's services."""
        task = self.swarm.running(f"{self.project}_{service}")
        assert task, self.swarm.tasks(f"{self.project}_{service}")
        return str(task["ID"])

    def container(self, service: str) -> Any:
        return self.swarm.container_of(f"{self.project}_{service}")

    def open_to(self, service: str, kernel: Kernel | None = None) -> set[tuple[str, int]]:
        """What of the stack can be reached from a task, by root or else by its `kernel`: services with their ports."""
        own = {name: self.container(name) for name in self.services()}
        whose, doors = {container.name: name for name, container in own.items()}, doors_of(*own.values())
        with self.swarm.node_of(service).refusing(OVERLAYS):
            opened = opened_by_root(self.swarm.container_of(service), doors)
            if kernel:
                opened |= opened_by_user(kernel, doors)
        return {(whose[doors[door]], door[1]) for door in opened}

    def user(self, name: str, password: str = "") -> User:
        setting = "ADMIN_PASSWORD" if name == "admin" else "USER_PASSWORD"
        return User(self.url, name, password or self.kit.setting(setting), self.kit.authority)

    def wait_until_gone(self) -> None:
        """Nodes remove a container a moment after its task has ended."""
        wait_until(lambda: not self.leftovers(), timeout=30, what=f"nothing is left: {self.leftovers()}")

    def leftovers(self) -> dict[str, list[str]]:
        """What of this kit is on the swarm, by kind; volumes are meant to stay."""
        client = self.swarm.client
        found = {
            "services": [one.name for one in client.services.list()],
            "networks": [one.name for one in client.networks.list()],
            "secrets": [one.name for one in client.secrets.list()],
            "configs": [one.name for one in client.configs.list()],
            "containers": [name for node in self.swarm.nodes for name in node.containers()],
        }
        kept = {kind: sorted(name for name in names if self.project in name) for kind, names in found.items()}
        return {kind: names for kind, names in kept.items() if names}

"""A kit of its own for a test: a copy of the checkout with its own project name, port and .env."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker

from support.nested import Node
from support.ports import free_port
from support.repo import ROOT, tracked
from support.user import User
from support.wait import wait_until

LABEL = "dockyard.instance"


class Kit:
    """What an operator has after `git clone`, and what an operator does with it: make, compose, edit .env."""

    def __init__(self, folder: Path):
        self.folder = folder
        # Not `dockyard-...`: it could be refused beside a kit with the default name.
        self.project = f"dockyardtest-{secrets.token_hex(3)}"
        self.port = free_port()
        self.first_output = ""
        # The machine it is on, where that is another one than this.
        self.node: Node | None = None
        # Certificates (PEM) that users of this kit trust instead of the well-known ones.
        self.authority: Path | None = None
        for source in tracked():
            target = folder / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)

    @property
    def url(self) -> str:
        lines = self.env_file.read_text().splitlines() if self.env_file.exists() else []
        public = [line for line in lines if line.startswith("PUBLIC_URL=http")]
        if public:
            return public[0].partition("=")[2].rstrip("/")
        return f"http://{self.node.address if self.node else '127.0.0.1'}:{self.port}"

    @property
    def env_file(self) -> Path:
        return self.folder / ".env"

    @property
    def client(self) -> docker.DockerClient:
        """A client of the engine that it is on."""
        return self.node.client if self.node else docker.from_env()

    @contextmanager
    def moved_to(self, node: Node) -> Iterator[None]:
        """Be on a node that has the kit's folder, with the images that were built here, while the context lasts."""
        self.run("scripts/image-to-nodes", node.url)
        self.write_env(BIND_ADDR=node.address, DOCKER_SOCKET="/node/docker.sock", DOCKER_GID=str(os.getgid()))
        self.node = node
        try:
            yield
        finally:
            self.node = None

    def run(self, *command: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command in the kit's folder; what it printed, both streams together, is in `stdout`."""
        engine = {"DOCKER_HOST": self.node.url} if self.node else {}
        environ = os.environ | engine | options.pop("env", {})
        environ.pop("MAKEFLAGS", None)
        done = subprocess.run(
            command, cwd=self.folder, env=environ, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900, **options,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
        return done

    def make(self, *verb: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.run("make", *verb, check=check, **options)

    def write_env(self, **values: str | None) -> None:
        """Make .env as `make up` does, then set (or with None remove) what is given, raw as it stands in the file."""
        if not self.env_file.exists():
            self.run("scripts/env")
            values = {"COMPOSE_PROJECT_NAME": self.project, "PORT": str(self.port), **values}
        lines = self.env_file.read_text().splitlines()
        kept = [line for line in lines if line.lstrip("#").partition("=")[0] not in values]
        added = [f"{name}={value}" for name, value in values.items() if value is not None]
        self.env_file.write_text("\n".join([*kept, *added]) + "\n")

    def setting(self, name: str) -> str:
        lines = [line for line in self.env_file.read_text().splitlines() if line.startswith(f"{name}=")]
        return lines[-1].partition("=")[2].strip("'")

    def secrets(self) -> list[str]:
        """The values of all secrets that were generated for this kit."""
        example = (ROOT / ".env.example").read_text()
        return [
            self.setting(name)
            for name in re.findall(r"^([A-Z_]+)=<(?:password|passphrase|hex)>", example, re.MULTILINE)
        ]

    def user(self, name: str) -> User:
        password = "ADMIN_PASSWORD" if name == "admin" else "USER_PASSWORD"
        return User(self.url, name, self.setting(password), self.authority)

    def servers(self) -> list[Any]:
        """The containers of this kit's users, running or not."""
        filters = {"label": f"{LABEL}={self.project}"}
        return list(self.client.containers.list(all=True, filters=filters, ignore_removed=True))

    def server_of(self, user: str) -> Any:
        """The container of `user`'s default server."""
        found = [server for server in self.servers() if server.labels.get("dockyard.user") == user]
        assert len(found) == 1, [server.labels for server in self.servers()]
        return found[0]

    def container(self, service: str) -> Any:
        """The container of one of the kit's own services."""
        about = {"project": self.project, "service": service, "oneoff": "False"}
        filters = {"label": [f"com.docker.compose.{name}={value}" for name, value in about.items()]}
        (found,) = self.client.containers.list(all=True, filters=filters)
        return found

    def crash(self, service: str) -> None:
        """End a service's process at once, and return when the engine has started it again by itself."""
        crashed = self.container(service)
        crashed.exec_run(["sh", "-c", "kill -9 -1"])

        def restarted() -> bool:
            crashed.reload()
            return bool(crashed.attrs["RestartCount"] > before and crashed.status == "running")

        before = crashed.attrs["RestartCount"]
        wait_until(restarted, timeout=60, what=f"{service} is started again")

    def wait_for(self, service: str) -> None:
        """Return when a service is healthy."""
        wait_until(lambda: self.container(service).health == "healthy", timeout=120, what=f"{service} is healthy")

    def containers(self) -> list[str]:
        """Ids of all containers that bear this kit's name."""
        listed = self.client.api.containers(all=True)
        return sorted(c["Id"] for c in listed if any(self.project in name for name in c["Names"]))

    def compose(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("docker", "compose", "--progress", "quiet", *arguments, check=check)

    @contextmanager
    def second_hub(self) -> Iterator[Any]:
        """The container of another hub on the same database, as if somebody had started one by hand."""
        name = f"{self.project}-second"
        self.compose("run", "--detach", "--no-deps", "--name", name, "hub")
        second = self.client.containers.get(name)
        try:
            yield second
        finally:
            second.remove(force=True)

    def leftovers(self) -> dict[str, list[str]]:
        """What of this kit is still on the engine, by kind."""
        client, name = self.client, self.project
        found = {
            "containers": [c["Names"][0] for c in client.api.containers(all=True) if name in c["Names"][0]],
            "networks": [n.name for n in client.networks.list() if name in n.name],
            "volumes": [v.name for v in client.volumes.list() if name in v.name],
            # images.list() asks for each, and others remove theirs meanwhile.
            "images": [tag for image in client.api.images() for tag in image["RepoTags"] or () if name in tag],
        }
        return {kind: sorted(names) for kind, names in found.items()}

    def destroy(self) -> None:
        """Remove the kit and all its data, however far it came."""
        if self.env_file.exists():
            self.write_env(COMPOSE_PROJECT_NAME=self.project)
            self.make("destroy", "FORCE=1", check=False)
        left = {kind: names for kind, names in self.leftovers().items() if names}
        assert not left, f"left behind by {self.project}: {left}"

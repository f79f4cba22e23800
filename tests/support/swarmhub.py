"""A hub on this machine whose servers are services of a swarm, published by its nodes."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from support.counting import Counter, Counters
from support.jupyterhub import Hub
from support.nested import Node
from support.swarm import Swarm
from support.tiny import tiny_image
from support.user import User

# The file traits-USER has traits of that user's spawner. Each server says whose it is.
SETTINGS = """
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

c.JupyterHub.spawner_class = "docker-swarm"
c.SwarmSpawner.client_kwargs = {{"base_url": "{url}"}}
c.SwarmSpawner.prefix = c.SwarmSpawner.instance = "{instance}"
c.SwarmSpawner.use_internal_ip = False
c.SwarmSpawner.image = "{image}"
c.SwarmSpawner.cmd = ["sh", "-c", \"\"\"
mkdir -p /www/user/$JUPYTERHUB_USER
echo $JUPYTERHUB_USER >/www/user/$JUPYTERHUB_USER/whose
exec httpd -f -p 8888 -h /www
\"\"\"]
c.SwarmSpawner.poll_interval = 1
c.SwarmSpawner.fence_after = 4

def before(spawner):
    traits = Path(f"traits-{{spawner.user.name}}")
    if traits.exists():
        for name, value in json.loads(traits.read_text()).items():
            setattr(spawner, name, value)

c.SwarmSpawner.pre_spawn_hook = before
"""


def swarm_hub(folder: Path, swarm: Swarm, instance: str, more: str = "") -> Hub:
    """One that has still to be started. `more` is Python that its configuration ends with."""
    text = SETTINGS.format(url=swarm.manager.url, instance=instance, image=tiny_image())
    return Hub(folder, text + more, address=swarm.outside)


def given(hub: Hub, user: str, **traits: Any) -> str:
    """Have the next starts of a user go by these traits, instead of those that were given before; the user's name."""
    (hub.folder / f"traits-{user}").write_text(json.dumps(traits))
    return user


# Real notebooks, with a home that every node has.
NOTEBOOKS = """
c.SwarmSpawner.image = "{image}"
c.SwarmSpawner.cmd = None
c.SwarmSpawner.ready_check = "jupyterhub"
c.SwarmSpawner.notebook_dir = "/home/jovyan"
c.SwarmSpawner.volumes = {{"{instance}-home-{{username}}": "/home/jovyan"}}
c.SwarmSpawner.volume_driver_options = {{"type": "none", "o": "bind", "device": "/shared/{instance}-{{username}}"}}
c.SwarmSpawner.start_timeout = 90
"""


def notebook_hub(folder: Path, swarm: Swarm, instance: str, image: str, more: str = "") -> Hub:
    """As `swarm_hub`, of notebooks whose users can move from node to node; see `Notebook`."""
    return swarm_hub(folder, swarm, instance, NOTEBOOKS.format(image=image, instance=instance) + more)


class Notebook(User):
    """A user with a server on a node of one's own choice, a file and a running kernel."""

    def __init__(self, hub: Hub, swarm: Swarm, instance: str, name: str) -> None:
        super().__init__(hub.url, name, "any")
        self.service = f"{instance}-{name}"
        self._hub = hub
        self._swarm = swarm
        home = swarm.shared / self.service
        home.mkdir()
        # Whatever the server's own user is.
        home.chmod(0o777)

    def placed(self, *nodes: Node, **traits: Any) -> Notebook:
        """Have its next starts on one of these nodes, on any where none is named, and by these traits."""
        others = [self._swarm.id_of(node) for node in self._swarm.nodes if nodes and node not in nodes]
        constraints = [f"node.id!={other}" for other in others]
        given(self._hub, self.name, **traits, extra_placement_spec={"constraints": constraints})
        return self

    @property
    def node(self) -> Node:
        return self._swarm.node_of(self.service)

    def write(self, text: str) -> None:
        content = {"type": "file", "format": "text", "content": text}
        self.server("PUT", "/api/contents/notes.txt", json=content).raise_for_status()

    def read(self) -> str:
        found = self.server("GET", "/api/contents/notes.txt")
        found.raise_for_status()
        return str(found.json()["content"])


def at_work(*users: Notebook) -> Counters:
    """Have them sign in and start, at once; a kernel of each is going to count."""
    with ThreadPoolExecutor() as pool:
        return Counters(pool.map(lambda user: Counter(user.sign_in().started()), users))

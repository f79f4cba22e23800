from __future__ import annotations

import io
import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest

from support.kit import Kit
from support.notebook import notebook_image
from support.scenario import *  # noqa: F403

PROFILES = """
- display_name: Small
  description: Enough for the exercises.
  default: true
- display_name: Large
  description: For simulations. Please stop it when you are done.
  docker_override: {environment: {SIZE: large}}
  profile_options:
    memory:
      display_name: Memory
      choices:
        1g: {display_name: 1 GB, docker_override: {mem_limit: 1G}}
        1500m: {display_name: 1.5 GB, docker_override: {mem_limit: 1500M}}
- display_name: Lost
  groups: [testers]
  docker_override: {image: "IMAGE"}
- display_name: Elsewhere
  groups: [testers]
  docker_override:
    image: "IMAGE"
    volumes: {"{prefix}-home-{username}": /srv/other}
    notebook_dir: /srv/other
- display_name: Staff
  groups: [staff]
  docker_override: {mem_limit: 3G}
"""

OWN = """
c.JupyterHub.load_groups = {"staff": {"users": ["sam"]}, "testers": {"users": ["olga"]}}
c.DockerSpawner.environment = {"FROM": "config.d", "JUPYTERHUB_ACTIVITY_INTERVAL": "2"}
# Sooner than CULL_IDLE_AFTER may be, with reports that are as much sooner.
import sys
culler = [sys.executable, "-m", "dockyard.hub.culling", "5"]
limits = ["--timeout=30", "--max-age=0", "--cull-every=5"]
c.JupyterHub.services = [{"name": "idle-culler", "command": culler + limits}]
c.JupyterHub.last_activity_interval = 2
"""


@pytest.fixture(scope="package")
def image_with_another_home() -> Iterator[str]:
    """The notebook image whose user's home is /srv/other, by its /etc/passwd."""
    tag = f"dockyard-test-home-{secrets.token_hex(3)}:1"
    recipe = f"FROM {notebook_image()}\nUSER root\nRUN usermod --home /srv/other --move-home jovyan\nUSER jovyan\n"
    with closing(docker.from_env()) as client:
        client.images.build(fileobj=io.BytesIO(recipe.encode()), tag=tag, rm=True)
        yield tag
        client.images.remove(tag)


@pytest.fixture(scope="package")
def profiles_file(tmp_path_factory: pytest.TempPathFactory, image_with_another_home: str) -> Path:
    path = tmp_path_factory.mktemp("operator") / "profiles.yaml"
    path.write_text(PROFILES.replace("IMAGE", image_with_another_home))
    path.parent.chmod(0o755)
    return path


@pytest.fixture(scope="package")
def kit_settings(profiles_file: Path) -> dict[str, str | None]:
    return {
        "PROFILES_FILE": str(profiles_file),
        "NAMED_SERVERS": "true",
        "SHARED_VOLUMES": "notes:/shared/notes@staff,notes:/shared/notes:ro",
        "CULL_IDLE_AFTER": "120",
        "CULL_ACTION": "sleep",
    }


@pytest.fixture(scope="package", autouse=True)
def own_configuration(kit: Kit) -> None:
    """A file of the operator's in hub/config.d."""
    path = kit.folder / "hub/config.d/50-own.py"
    path.write_text(OWN)
    path.chmod(0o644)

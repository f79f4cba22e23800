"""A swarm that the tests share; what one of them made or broke is gone, or whole, when the next begins."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.jupyterhub import Hub
from support.notebook import notebook_image
from support.swarm import USUAL_HEARTBEAT, Swarm
from support.swarm import swarm as running_swarm
from support.swarmhub import Notebook, swarm_hub
from support.swarmhub import notebook_hub as running_notebook_hub


@pytest.fixture(scope="package")
def one_swarm(seed: str) -> Iterator[Swarm]:
    """A manager and two workers, each with one GPU, as far as the swarm knows."""
    with running_swarm(managers=1, workers=2, seed=seed, node_generic_resources=["gpu=number-7"]) as swarm:
        yield swarm


@pytest.fixture(scope="package")
def three_managers(seed: str) -> Iterator[Swarm]:
    """What a module that loses managers has as its `one_swarm`."""
    with running_swarm(managers=3, workers=0, heartbeat=USUAL_HEARTBEAT, seed=seed) as swarm:
        yield swarm


@pytest.fixture
def swarm(one_swarm: Swarm) -> Iterator[Swarm]:
    yield one_swarm
    one_swarm.recover()


@pytest.fixture(scope="module")
def instance(one_swarm: Swarm) -> Iterator[str]:
    """A name that marks all that one module makes."""
    name = f"dyt{secrets.token_hex(3)}"
    yield name
    one_swarm.clean(name)


@pytest.fixture(scope="module")
def hub(one_swarm: Swarm, instance: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub on this machine whose servers are on the swarm."""
    with swarm_hub(tmp_path_factory.mktemp("hub"), one_swarm, instance) as hub:
        yield hub


@pytest.fixture(scope="module")
def notebook_hub(one_swarm: Swarm, instance: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """As `hub`, of real notebooks."""
    with running_notebook_hub(tmp_path_factory.mktemp("hub"), one_swarm, instance, notebook_image()) as hub:
        yield hub


@pytest.fixture
def new_user(notebook_hub: Hub, swarm: Swarm, instance: str) -> Iterator[Callable[[str], Notebook]]:
    """Makes users of `notebook_hub` with a home and no file; their servers are stopped at the end."""
    made: list[Notebook] = []

    def new_user(name: str) -> Notebook:
        made.append(Notebook(notebook_hub, swarm, instance, f"{name}{secrets.token_hex(2)}"))
        return made[-1]

    yield new_user
    swarm.recover()
    with ThreadPoolExecutor() as pool:
        list(pool.map(notebook_hub.halt, [user.name for user in made if notebook_hub.is_running(user.name)]))

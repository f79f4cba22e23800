"""A notebook with a running kernel sleeps and wakes, through a real hub and in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import docker
import pytest

from support import browser as do
from support.engine import marked
from support.jupyterhub import Hub
from support.notebook import notebook_image
from support.user import User
from support.wait import wait_until

pytestmark = pytest.mark.needs("engine")

SETTINGS = """
c.DockerSpawner.image = "{image}"
c.DockerSpawner.ready_check = "jupyterhub"
c.DockerSpawner.prefix = c.DockerSpawner.instance = "{instance}"
c.DockerSpawner.network_name = "{network}"
c.DockerSpawner.notebook_dir = "/home/jovyan"
c.DockerSpawner.volumes = {{"{instance}-home-{{username}}": "/home/jovyan"}}
c.DockerSpawner.stop_action = "pause"
c.Spawner.default_url = "/lab"
"""


@pytest.fixture(scope="module")
def instance(client: docker.DockerClient) -> Iterator[str]:
    with marked(client) as name:
        yield name


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, instance: str, network: str, gateway: str) -> Iterator[Hub]:
    settings = SETTINGS.format(image=notebook_image(), instance=instance, network=network)
    hub = Hub(tmp_path_factory.mktemp("hub"), settings, address=gateway)
    with hub:
        yield hub


@pytest.fixture
def ann(hub: Hub) -> Iterator[User]:
    user = User(hub.url, "ann", "any").sign_in().started()
    yield user
    if hub.is_running("ann"):
        hub.halt("ann")


def status(client: Any, instance: str, name: str = "ann") -> str:
    return str(client.api.inspect_container(f"{instance}-{name}")["State"]["Status"])


def test_a_kernel_goes_on_after_its_user_a_culler_or_a_restarted_hub_has_stopped_it(
    ann: User, hub: Hub, client: Any, instance: str
) -> None:
    kernel_id = ann.new_kernel()
    with ann.kernel(kernel_id) as kernel:
        kernel.run("x = 41")

    def stopped_by_the_user() -> None:
        ann.stop()

    def stopped_by_a_service() -> None:
        hub.halt("ann")

    def stopped_before_the_hub_was() -> None:
        ann.stop()
        hub.kill()
        hub.start()
        wait_until(lambda: ann.api("GET", "/user").ok, timeout=20, what="the hub is back")

    for stop in (stopped_by_the_user, stopped_by_a_service, stopped_before_the_hub_was):
        stop()
        assert status(client, instance) == "paused"
        assert not hub.is_running("ann")
        last = ann.start()[-1]
        assert last.get("ready"), last
        assert [one["id"] for one in ann.server("GET", "/api/kernels").json()] == [kernel_id]
        with ann.kernel(kernel_id) as kernel:
            assert kernel.run("x += 1; print(x)") in ("42\n", "43\n", "44\n")


def test_a_fresh_start_is_asked_for_once(ann: User, hub: Hub) -> None:
    ann.new_kernel()
    ann.stop()
    answer = ann.api("POST", "/users/ann/server", json={"fresh": True})
    assert answer.status_code in (201, 202)
    wait_until(lambda: hub.is_running("ann") and ann.model()["servers"][""]["ready"], timeout=60)
    assert ann.server("GET", "/api/kernels").json() == []
    kernel_id = ann.new_kernel()
    ann.stop()
    ann.started()
    assert [one["id"] for one in ann.server("GET", "/api/kernels").json()] == [kernel_id]


@pytest.mark.needs("browser")
def test_a_tab_that_was_left_open_goes_on(hub: Hub, browser: Any, client: Any, instance: str) -> None:
    bea = User(hub.url, "bea", "any")
    with do.page(browser) as page:
        do.fill_in_login(page, bea)
        do.wait_for_lab(page, bea)
        do.new_notebook(page)
        assert do.run_cell(page, "x = 41; print('kept')") == "kept"
        hub.halt("bea")
        assert status(client, instance, "bea") == "paused"
        assert hub.spawn("bea")[-1].get("ready")
        assert do.run_cell(page, "print(x + 1)", below=True) == "42"
        do.screenshot(page, "woken-tab")
    hub.halt("bea")

"""Containers that are there already: ours are resumed or replaced, others' are never touched."""

from __future__ import annotations

from typing import Any

import pytest

from support.tiny import tiny_image

pytestmark = pytest.mark.needs("engine")

HOME = "/home/jovyan"


async def test_a_kept_container_is_resumed_with_its_token(make: Any, containers: Any) -> None:
    first = make(remove=False)
    await first.start()
    kept, token = first.object_id, first.api_token
    await first.stop()
    assert containers() == [first.object_name]
    assert await first.poll() is not None

    second = make(remove=False)
    assert second.api_token != token
    await second.start()
    assert (second.object_id, second.api_token) == (kept, token)
    assert second.will_resume
    await second.stop()


async def test_a_kept_container_whose_settings_changed_is_replaced(make: Any, client: Any, instance: str) -> None:
    home = {f"{instance}-home": HOME}
    first = make(remove=False, volumes=home)
    await first.start()
    client.containers.get(first.object_id).exec_run(["touch", f"{HOME}/mine"])
    await first.stop()

    second = make(remove=False, volumes=home, environment={"NEW": "1"})
    await second.start()
    assert second.object_id != first.object_id
    container = client.containers.get(second.object_id)
    assert "NEW=1" in container.attrs["Config"]["Env"]
    assert b"mine" in container.exec_run(["ls", HOME]).output
    await second.stop()


async def test_a_kept_container_with_the_files_inside_is_never_replaced(make: Any, client: Any) -> None:
    first = make(remove=False)
    await first.start()
    kept = first.object_id
    client.containers.get(kept).exec_run(["touch", f"{HOME}/mine"])
    await first.stop()

    second = make(remove=False, environment={"NEW": "1"})
    await second.start()
    assert second.object_id == kept
    assert b"mine" in client.containers.get(kept).exec_run(["ls", HOME]).output
    await second.stop()


async def test_a_kept_container_that_no_longer_starts_is_kept(make: Any, client: Any, containers: Any) -> None:
    first = make(remove=False, cmd=["sh", "-c", f"test -e {HOME}/broken && exit 3; exec httpd -f -p 8888"])
    await first.start()
    client.containers.get(first.object_id).exec_run(["touch", f"{HOME}/broken"])
    await first.stop()
    second = make(remove=False, cmd=first.cmd)
    with pytest.raises(Exception, match="exit code 3"):
        await second.start()
    assert containers() == [first.object_name]


@pytest.mark.parametrize("remove", [True, False])
async def test_what_a_killed_hub_has_left_is_adopted_or_replaced(make: Any, containers: Any, remove: bool) -> None:
    before = make(remove=remove)
    await before.start()
    after = make(remove=remove)
    assert await after.poll() == 0
    await after.start()
    assert containers() == [after.object_name]
    assert (after.object_id == before.object_id) is not remove
    await after.stop()


async def test_the_state_finds_a_running_server_under_a_changed_template(make: Any) -> None:
    before = make(remove=True)
    await before.start()
    after = make(remove=True, name_template="{prefix}-other-{username}")
    after.load_state(before.get_state())
    assert await after.poll() is None
    assert after.object_name == before.object_name
    await after.stop()
    assert await before.poll() == 0


async def test_somebody_elses_container_is_named_and_left_alone(
    make: Any, client: Any, instance: str, network: str
) -> None:
    foreign = client.containers.run(tiny_image(), name=f"{instance}-ann", network=network, detach=True)
    spawner = make(remove=True)
    with pytest.raises(Exception, match=f"already a container named {instance}-ann") as failed:
        await spawner.start()
    assert failed.value.reason == "conflict"
    foreign.reload()
    assert foreign.status == "running"
    assert await spawner.poll() == 0


async def test_two_hubs_on_one_engine_leave_each_other_alone(make: Any) -> None:
    ours, theirs = make(remove=True), make(remove=True, instance="another-hub")
    await ours.start()
    with pytest.raises(Exception, match="does not belong to this server"):
        await theirs.start()
    assert await ours.poll() is None
    await ours.stop()


async def test_a_predecessors_container_without_labels_is_ours(
    make: Any, client: Any, instance: str, network: str
) -> None:
    old = client.containers.run(
        tiny_image(),
        name=f"{instance}-ann",
        network=network,
        environment={"JUPYTERHUB_USER": "ann", "JUPYTERHUB_API_TOKEN": "old-token"},
        detach=True,
    )
    old.stop()
    spawner = make(remove=False)
    await spawner.start()
    assert (spawner.object_id, spawner.api_token) == (old.id, "old-token")
    await spawner.stop()

"""An engine behind a proxy that allows only the calls of dockerspawner 14."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.allowing import PREDECESSOR, Allowing

pytestmark = pytest.mark.needs("engine")


@pytest.fixture
def proxy(socket: str) -> Iterator[Callable[..., Allowing]]:
    made: list[Allowing] = []

    def make(**about: Any) -> Allowing:
        made.append(Allowing(socket, **{"allowed": PREDECESSOR, **about}))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("status", [403, 404, 501])
async def test_start_poll_and_stop_need_only_the_calls_of_dockerspawner_14(
    make: Any, client: Any, instance: str, containers: Any, proxy: Any, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    door = proxy(status=status)
    settings = {
        "client_kwargs": {"base_url": door.url},
        "volumes": {f"{instance}-home-{{username}}": "/home/jovyan", f"{instance}-data": "/data"},
        "mounts": [{"source": f"{instance}-more", "target": "/more"}],
    }
    kept = make(**settings)
    await kept.start()
    container_id = kept.object_id
    assert await kept.poll() is None
    await kept.stop()
    assert await kept.poll() is not None
    # Another hub process finds the container by its name.
    again = make(**settings)
    again.load_state(kept.get_state())
    await again.start()
    assert again.object_id == container_id
    await again.stop()
    # From other settings, with a volume of another name.
    settings["volumes"] = {f"{instance}-other-{{username}}": "/home/jovyan"}
    other = make(**settings, remove=True, cmd=["sh", "-c", "exit 3"])
    other.load_state(again.get_state())
    with pytest.raises(Exception, match="exit code 3"):
        await other.start()
    assert containers() == []
    # Volumes on record are deleted with the user, without a list.
    last = make(**settings)
    await last.start()
    await last.delete_forever()
    assert containers() == []
    asked = {"GET /events", "GET /containers/json", "POST /volumes/create"}
    assert asked < set(door.refused)
    warnings = [record.getMessage() for record in caplog.records if "creat" in record.getMessage()]
    assert len(warnings) == 1
    assert warnings[0].startswith("Docker rejects requests to create volumes (not allowed).")

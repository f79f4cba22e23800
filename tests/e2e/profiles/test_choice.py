"""What users choose from, what the operator adds, and who falls asleep."""

from __future__ import annotations

from pathlib import Path

import docker
import pytest
from playwright.sync_api import Browser, expect

from support import browser as do
from support.kit import Kit
from support.wait import wait_until


def test_a_profile_is_chosen_by_keyboard(running: Kit, browser: Browser) -> None:
    lara = running.user("lara")
    with do.page(browser) as page:
        do.fill_in_login(page, lara)
        expect(page.get_by_role("radio")).to_have_count(2)
        small = page.get_by_role("radio", name="Small")
        expect(small).to_be_checked()
        small.focus()
        page.keyboard.press("ArrowDown")
        expect(page.get_by_role("radio", name="Large")).to_be_checked()
        page.get_by_label("Memory").select_option("1500m")
        do.screenshot(page, "choose-a-profile")
        page.keyboard.press("Enter")
        do.wait_for_lab(page, lara)
    container = running.server_of("lara").attrs
    assert container["HostConfig"]["Memory"] == container["HostConfig"]["MemorySwap"] == 1500 * 1024**2
    assert {"SIZE=large", "FROM=config.d"} <= set(container["Config"]["Env"])


def test_profiles_of_a_group_are_for_its_members(running: Kit) -> None:
    order = {"json": {"profile": "staff"}}
    sam, tom = (running.user(name).sign_in() for name in ("sam", "tom"))
    refused = tom.api("POST", "/users/tom/server", **order)
    assert (refused.status_code, "staff" in refused.json()["message"]) == (400, True), refused.text
    assert sam.api("POST", "/users/sam/server", **order).status_code in {201, 202}
    wait_until(lambda: sam.model()["servers"][""]["ready"], timeout=60)
    # More than MEM_LIMIT, and still no swap.
    host = running.server_of("sam").attrs["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == 3 * 1024**3
    sam.stop()


def test_a_shared_volume_is_written_by_its_group_and_read_by_all(running: Kit) -> None:
    tom = running.user("tom").sign_in().started()
    write = "open('/shared/notes/today', 'a').write('read this')"
    with tom.kernel() as kernel, pytest.raises(AssertionError, match="Read-only file system"):
        kernel.run(write)
    # Before the culler does.
    tom.stop()
    sam = running.user("sam").sign_in().started()
    with sam.kernel() as kernel:
        kernel.run(write)
    tom.started()
    with tom.kernel() as kernel:
        assert kernel.run("print(open('/shared/notes/today').read())") == "read this\n"


def test_an_image_with_another_home_starts_only_with_a_volume_there(running: Kit) -> None:
    olga = running.user("olga").sign_in()
    olga.api("POST", "/users/olga/server", json={"profile": "lost"})
    wait_until(lambda: "" not in olga.model()["servers"], timeout=60)
    log = running.container("hub").logs().decode()
    assert "HOME is /srv/other in image dockyard-test-home-" in log
    assert "Set HOME_PATH=/srv/other in .env." in log
    for expected in ("", "kept"):
        olga.api("POST", "/users/olga/server", json={"profile": "elsewhere"})
        wait_until(lambda: olga.model()["servers"].get("", {}).get("ready"), timeout=60)
        with olga.visiting().kernel() as kernel:
            read = "import os; p = os.path.expanduser('~/x'); print(p, os.path.exists(p) and open(p).read() or '')"
            assert kernel.run(read) == f"/srv/other/x {expected}\n"
            kernel.run("open(p, 'w').write('kept')")
        olga.stop()
        # A server that sleeps would go on with its container.
        for server in running.servers():
            if server.labels["dockyard.user"] == "olga":
                server.remove(force=True)


def test_an_idle_server_falls_asleep_and_wakes_with_its_kernel(running: Kit) -> None:
    iris = running.user("iris").sign_in().started()
    kernel_id = iris.new_kernel()
    with iris.kernel(kernel_id) as kernel:
        kernel.run("x = 41")
    wait_until(lambda: "" not in iris.model()["servers"], timeout=120, interval=1, what="the culler stops it")
    assert running.server_of("iris").attrs["State"]["Status"] == "paused"
    assert iris.start()[-1].get("ready")
    with iris.kernel(kernel_id) as kernel:
        assert kernel.run("print(x + 1)") == "42\n"


def test_named_servers_run_side_by_side(running: Kit) -> None:
    nora = running.user("nora").sign_in()
    for name in ("one", "two"):
        assert nora.start(name)[-1].get("ready")
    assert {server.labels["dockyard.server"] for server in running.servers() if "nora" in server.name} == {"one", "two"}


def test_a_hub_that_is_restarted_alone_has_the_gate_read_the_profiles_again(running: Kit, profiles_file: Path) -> None:
    """Of a file that an editor has replaced, a container keeps the former one until it starts again."""
    good, image = profiles_file.read_text(), f"{running.project}-other:1"
    docker.from_env().images.get(f"{running.project}-singleuser:0.1.0").tag(image)
    replacement = profiles_file.with_name("replacement.yaml")
    rosa = running.user("rosa").sign_in()
    try:
        replacement.write_text(f"{good}- display_name: Other\n  docker_override: {{image: '{image}'}}\n")
        replacement.replace(profiles_file)
        running.compose("restart", "--no-deps", "hub")
        running.wait_for("hub")
        assert rosa.api("POST", "/users/rosa/server", json={"profile": "other"}).status_code in {201, 202}
        wait_until(lambda: rosa.model()["servers"][""]["ready"], timeout=60)
        assert running.server_of("rosa").attrs["Config"]["Image"] == image
        rosa.stop()
    finally:
        for server in running.servers():
            if server.labels.get("dockyard.user") == "rosa":
                server.remove(force=True)
        docker.from_env().images.remove(image)
        profiles_file.write_text(good)
    said = running.make("up").stdout
    assert ("hub: PROFILES_FILE" in said, "gate: PROFILES_FILE" in said) == (True, True), said


def test_mistakes_in_the_profiles_are_told_by_their_lines(running: Kit, profiles_file: Path) -> None:
    good = profiles_file.read_text()
    try:
        profiles_file.write_text(good.replace("docker_override: {environment", "docker_overide: {environment"))
        told = running.make("up", check=False)
    finally:
        profiles_file.write_text(good)
    assert told.returncode != 0
    assert (
        f"PROFILES_FILE {profiles_file}, line 7: docker_overide is unknown: did you mean docker_override?"
        in told.stdout
    )
    running.write_env(PROFILES_FILE="/nonexistent/profiles.yaml")
    told = running.make("up", check=False)
    running.write_env(PROFILES_FILE=str(profiles_file))
    assert told.returncode != 0
    assert "PROFILES_FILE /nonexistent/profiles.yaml cannot be read (No such file" in told.stdout
    assert "Dockyard is up" in running.make("up").stdout

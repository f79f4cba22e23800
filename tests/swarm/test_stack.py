"""The kit on a swarm, as its operator and its users meet it; one stack, from test to test."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from support import browser as do
from support.cloud import ADDRESS, metadata_service
from support.counting import Counter, Counters
from support.kit import Kit
from support.probing import opened_by_root, opened_by_user
from support.stack import Stack
from support.swarm import Swarm
from support.wait import wait_until

# But for olga, who was there before there was a swarm.
ON_WORKERS = """
def place(spawner):
    return {} if spawner.user.name == "olga" else {"constraints": ["node.role == worker"]}

c.SwarmSpawner.extra_placement_spec = place
"""


@pytest.fixture(scope="module")
def stack(one_swarm: Swarm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A kit whose images the manager has; nothing runs yet."""
    kit = Kit(tmp_path_factory.mktemp("kit"))
    stack = Stack(kit, one_swarm)
    with stack.removed():
        kit.write_env(BIND_ADDR="0.0.0.0", DOCKER_SOCKET="/node/docker.sock", DOCKER_GID=str(os.getgid()))
        (kit.folder / "hub/config.d/workers.py").write_text(ON_WORKERS)
        kit.make("build")
        stack.send_images(one_swarm.managers[0])
        yield stack


class TestOneHost:
    """The kit on the machine that is going to be the manager, as compose has it."""

    def test_a_user_of_one_host(self, stack: Stack) -> None:
        stack.run("docker", "compose", "--progress", "quiet", "up", "--detach", "--wait", "--no-build")
        olga = stack.user("olga").sign_in().started()
        with olga.kernel() as kernel:
            kernel.run("open('kept.txt', 'w').write('of one host')")
        stack.refused(
            f"The network {stack.project}_users is there, but is no overlay of the swarm (bridge): 'make down' removes"
        )
        stack.make("down")


class TestBadInput:
    """Nothing is started, and one sentence says what to do."""

    def test_not_a_manager(self, stack: Stack) -> None:
        stack.refused("This node of the swarm is a worker: run this on a manager", on=stack.swarm.workers[0])

    def test_a_swarm_that_is_locked(self, stack: Stack) -> None:
        manager = stack.swarm.managers[0]
        with stack.swarm.locked(manager):
            done = stack.make("swarm-up", check=False)
        assert done.returncode != 0
        assert "The swarm is locked, because its engine was restarted: 'docker swarm unlock'" in done.stdout

    def test_all_that_is_wrong_is_said_at_once(self, stack: Stack) -> None:
        swarm, workers = stack.swarm, stack.swarm.workers
        password = stack.kit.setting("USER_PASSWORD")
        for worker in workers:
            swarm.label(worker, **{"dockyard.hub": "true"})
        swarm.label(workers[0], **{"dockyard.proxy": "true"})
        swarm.drain(workers[0])
        names = {"hub": "bridge", "users": "overlay"}
        networks = [swarm.client.networks.create(f"{stack.project}_{name}", driver=names[name]) for name in names]
        stack.kit.write_env(USER_PASSWORD=None, USER_PASSWORD_FILE="/etc/lab/password")
        try:
            stack.refused(
                "No node labelled dockyard.proxy=true is up and active, and the proxy runs nowhere else",
                "2 nodes are labelled dockyard.hub=true, and the hub's database, SQLite, is a file on one",
                f"The network {stack.project}_hub is there, but is no overlay of the swarm (bridge)",
                f"The network {stack.project}_users is not attachable",
                "USER_PASSWORD_FILE /etc/lab/password can't be read, so that no secret can be made of it",
            )
        finally:
            stack.kit.write_env(USER_PASSWORD=password, USER_PASSWORD_FILE=None)
            for network in networks:
                network.remove()
            for worker in workers:
                swarm.change(worker, Labels={}, Availability="active")

    def test_what_is_for_one_host(self, stack: Stack) -> None:
        stack.kit.write_env(BIND_ADDR="127.0.0.1", CULL_ACTION="sleep")
        try:
            stack.refused("BIND_ADDR has no effect on a swarm", "CULL_ACTION is for one host", "make swarm-up")
        finally:
            stack.kit.write_env(BIND_ADDR="0.0.0.0", CULL_ACTION=None)

    def test_images_that_the_workers_lack(self, stack: Stack) -> None:
        done = stack.make("swarm-up", check=False)
        assert done.returncode != 0
        assert f"{stack.project}_keeper is not what it should be" in done.stdout
        for worker in stack.swarm.workers:
            assert f"{worker.container.name}: " in done.stdout
        assert "No such image" in done.stdout
        assert "scripts/image-to-nodes ssh://NODE" in done.stdout
        doctor = stack.make("doctor", check=False).stdout
        for worker in stack.swarm.workers:
            assert f"The node {stack.swarm.name_of(worker)} runs no {stack.project}_keeper" in doctor


class TestStack:
    def test_it_comes_up_and_says_where(self, stack: Stack) -> None:
        said = stack.send_images()
        assert f"{stack.swarm.managers[0].url} has all of them" in said
        said = stack.up()
        assert f"Dockyard is up:  {stack.url}" in said
        assert set(stack.services()) == {"proxy", "hub", "gate", "beacon", "keeper"}
        keepers = [
            task for task in stack.swarm.tasks(f"{stack.project}_keeper") if task["Status"]["State"] == "running"
        ]
        assert {task["NodeID"] for task in keepers} == {stack.swarm.id_of(node) for node in stack.swarm.nodes}

    def test_a_second_time_takes_seconds_and_replaces_nothing(self, stack: Stack) -> None:
        before = {name: stack.task(name) for name in ("proxy", "hub", "beacon")}
        began = time.monotonic()
        stack.up()
        assert time.monotonic() - began < 60
        assert {name: stack.task(name) for name in before} == before

    def test_users_of_one_host_and_their_files_are_there(self, stack: Stack) -> None:
        olga = stack.user("olga").sign_in().started()
        with olga.kernel() as kernel:
            assert kernel.run("print(open('kept.txt').read())") == "of one host\n"
        assert stack.swarm.node_of(stack.servers()[0]) is stack.swarm.managers[0]
        assert "olga" in [user["name"] for user in stack.user("admin").sign_in().api("GET", "/users").json()]
        olga.stop()

    def test_a_notebook_on_a_worker(self, stack: Stack, browser: Browser) -> None:
        alice = stack.user("alice")
        with do.page(browser) as page:
            do.fill_in_login(page, alice)
            expect(page.get_by_text("Your server is starting up.")).to_be_visible()
            do.wait_for_lab(page, alice)
            do.new_notebook(page)
            assert do.run_cell(page, "open('kept.txt', 'w').write('hello'); print(6 * 7)") == "42"
            do.screenshot(page, "swarm-cell")
            assert stack.swarm.node_of(stack.servers()[0]) in stack.swarm.workers
            do.stop_server(page, alice)
        alice.sign_in()
        wait_until(lambda: alice.model()["servers"] == {}, timeout=30, what="the server is stopped")
        assert stack.servers() == []
        alice.started()
        with alice.kernel() as kernel:
            assert kernel.run("print(open('kept.txt').read())") == "hello\n"
        alice.stop()

    def test_a_server_has_the_limits_and_no_way_to_what_is_ours(self, stack: Stack) -> None:
        bob = stack.user("bob").sign_in().started()
        (name,) = stack.servers()
        server = stack.swarm.container_of(name)
        host = server.attrs["HostConfig"]
        assert (host["CapDrop"], host["PidsLimit"], host["Memory"]) == (["ALL"], 1024, 2 * 1024**3)
        assert "no-new-privileges=true" in host["SecurityOpt"]
        assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}}
        (open_files,) = host["Ulimits"]
        assert (open_files["Name"], 1024 <= open_files["Hard"] <= 65536) == ("nofile", True)
        assert "Health" not in server.attrs["State"]
        assert stack.open_to(f"{stack.project}_hub") >= {("gate", 2375), ("proxy", 8001)}
        with bob.kernel() as kernel:
            assert kernel.run("import os; print(os.path.exists('/run/secrets'))") == "False\n"
            # The hub and the proxy as users reach it, not its API, nor the gate.
            assert stack.open_to(name, kernel) == {("hub", 8081), ("proxy", 8000)}
            with metadata_service() as port:
                cloud = {(ADDRESS, port): "cloud"}
                # Whoever is not kept from it reaches it.
                assert opened_by_root(stack.container("hub"), cloud) == {*cloud}
                assert opened_by_user(kernel, cloud) == set()
                assert opened_by_root(server, cloud) == set()
        bob.stop()

    def test_a_change_replaces_what_it_is_about_and_notebooks_go_on(self, stack: Stack) -> None:
        carol = stack.user("carol").sign_in().started()
        before = {name: stack.task(name) for name in ("proxy", "hub")}
        with Counters([Counter(carol)]) as counters:
            stack.kit.write_env(HUB_TITLE="'Lab $1'")
            stack.up()
            counters.go_on()
        assert stack.task("proxy") == before["proxy"]
        assert stack.task("hub") != before["hub"]
        assert "Lab $1" in stack.user("nobody").session.get(f"{stack.url}/hub/login", timeout=30).text
        assert (
            len([one for one in stack.swarm.client.secrets.list() if one.name.startswith(f"{stack.project}_env")]) == 1
        )
        assert carol.model()["servers"][""]["ready"]
        carol.stop()

    def test_what_the_hub_does_not_know_of_is_listed(self, stack: Stack) -> None:
        labels = {"dockyard.instance": stack.project, "dockyard.user": "nobody", "dockyard.server": ""}
        name, image = f"{stack.project}-nobody", f"{stack.project}-singleuser:0.1.0"
        service = stack.swarm.client.services.create(image, ["sleep", "86400"], name=name, labels=labels)
        try:
            said = stack.make("doctor", check=False).stdout
        finally:
            service.remove()
        assert f"'docker service rm NAME' ends it: {name}\n" in said

    def test_the_stack_is_removed_while_a_server_runs(self, stack: Stack) -> None:
        dora = stack.user("dora").sign_in().started()
        kernel_id = dora.new_kernel()
        with dora.kernel(kernel_id) as kernel:
            kernel.run("x = 20")
        stack.run("docker", "stack", "rm", stack.project)
        wait_until(lambda: stack.services() == {}, timeout=60, what="the stack is gone")
        doctor = stack.make("doctor", check=False)
        assert doctor.returncode != 0
        assert "1 servers of users run without a hub ('docker stack rm' leaves them): 'make swarm-up'" in doctor.stdout
        refused = stack.make("up", check=False).stdout
        assert "runs on the swarm of this engine: 'make swarm-down' first" in refused
        stack.up()
        assert dora.model()["servers"][""]["ready"]
        with dora.kernel(kernel_id) as kernel:
            assert kernel.run("print(x + 1)") == "21\n"

    def test_down_leaves_volumes_and_labels_only(self, stack: Stack) -> None:
        """Dora's server runs still."""
        assert len(stack.servers()) == 1
        said = stack.make("swarm-down").stdout
        assert "Removing 1 servers of users: kernels end, files stay" in said
        stack.wait_until_gone()
        volumes = {volume.name for node in stack.swarm.nodes for volume in node.client.volumes.list()}
        assert {f"{stack.project}_hub-data", f"{stack.project}-home-dora"} <= volumes
        assert "Removed" in stack.make("swarm-down").stdout, "a second time is no mistake"

    def test_by_hand_as_the_readme_says(self, stack: Stack) -> None:
        readme = (stack.kit.folder / "compose/README.md").read_text()
        (commands,) = [block for block in readme.split("```sh\n") if "--compose-file compose/stack.yaml" in block]
        commands = commands.partition("```")[0].replace("dockyard_", f"{stack.project}_")
        commands = commands.replace("stack.yaml dockyard", f"stack.yaml {stack.project}")
        environ = {name: stack.kit.setting(name) for name in ("COMPOSE_PROJECT_NAME", "PORT", "DOCKER_SOCKET")}
        for name, image in (("HUB_IMAGE", "hub"), ("PROXY_IMAGE", "proxy"), ("NOTEBOOK_IMAGE", "singleuser")):
            environ[name] = f"{stack.project}-{image}:0.1.0"
        for name in ("ENV", "PROXY_AUTH_TOKEN", "GATE_TOKEN"):
            environ[f"{name}_SECRET"] = f"{stack.project}_{name.lower()}"
        stack.send_images()
        stack.run("bash", "-euc", commands, env=environ)
        stack.run("scripts/stack-wait")
        erin = stack.user("erin").sign_in().started()
        erin.stop()
        stack.run("docker", "stack", "rm", stack.project)
        wait_until(lambda: stack.services() == {}, timeout=60, what="the stack is gone")
        secrets = ("env", "proxy_auth_token", "gate_token")
        stack.run("docker", "secret", "rm", *(f"{stack.project}_{name}" for name in secrets))

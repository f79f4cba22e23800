"""What every layer shares: a test that cannot run says why, and fails where REQUIRE says that it must run."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Generator, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

import docker
import docker.errors
import pytest

from support.registry import Registry
from support.registry import registry as running_registry
from support.sidebyside import group_of, turn

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@cache
def _no_engine() -> str:
    try:
        docker.from_env(timeout=10).ping()
    except docker.errors.DockerException as error:
        return f"no Docker engine answers: {error}"
    return ""


@cache
def _no_browser() -> str:
    return "" if shutil.which("chromium") else "chromium is not installed: apt-get install chromium libatomic1"


@cache
def _no_swarm() -> str:
    if reason := _no_engine():
        return reason
    # The nodes' own engines are spoken to at sockets in folders of this machine.
    if sys.platform != "linux" or not os.environ.get("DOCKER_HOST", "unix://").startswith("unix://"):
        return "the nodes of a swarm need a Docker engine on this machine, and Linux"
    return ""


MISSING: dict[str, Callable[[], str]] = {"engine": _no_engine, "browser": _no_browser, "swarm": _no_swarm}


def pytest_runtest_setup(item: pytest.Item) -> None:
    required = os.environ.get("REQUIRE", "").split(",")
    for marker in item.iter_markers("needs"):
        for name in marker.args:
            if reason := MISSING[name]():
                (pytest.fail if name in required else pytest.skip)(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    # A pytest that a test runs is in that test's turn: it would wait for one that waits for it.
    if not hasattr(item.config, "workerinput"):
        return (yield)
    with turn(alone="alone" in item.keywords):
        return (yield)


# Where tests run side by side. What they share is set up once, and in the order in which they were asked for.
@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class Grouped(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return Grouped(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """After Ctrl-C, the other processes remove what their tests have made, for which they would have seconds."""
    if side_by_side := session.config.pluginmanager.getplugin("dsession"):
        for node in side_by_side._active_nodes:
            with contextlib.suppress(node.channel.TimeoutError, node.channel.RemoteError):
                node.channel.waitclose(timeout=300)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    """Write the failed tests of a finished run to a file, for .ci/second_chance.py."""
    failed = config.rootpath / ".artifacts" / "failed"
    failed.unlink(missing_ok=True)
    if exitstatus == pytest.ExitCode.TESTS_FAILED:
        reports = [*terminalreporter.stats.get("failed", ()), *terminalreporter.stats.get("error", ())]
        failed.parent.mkdir(exist_ok=True)
        failed.write_text("".join(f"{test}\n" for test in sorted({report.nodeid for report in reports})))


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    """A real registry on this machine, empty at first."""
    with running_registry() as registry:
        yield registry


@pytest.fixture(scope="session")
def seed() -> Iterator[str]:
    """Images that engines of `nested` have from the start. A kit of a test has others, of the same layers."""
    # Here, since not every environment that runs a part of the tests has what a kit's users need.
    from support.nested import seeded
    from support.notebook import kit_images
    from support.tiny import tiny_image

    with seeded(tiny_image(), *kit_images()) as volume:
        yield volume


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Of a module's own: while its driver runs, pytest-asyncio has no loop for the coroutines of other modules."""
    # Here, since not every environment that runs a part of the tests has a browser's driver.
    from support.browser import chromium

    with chromium() as browser:
        yield browser

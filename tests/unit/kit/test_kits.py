"""Which kit a name belongs to: by what compose created and by the record, never by the labels of users' servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from kits import Engine, Refused, Thing, can_clash, is_gone, refuse_clash, refuse_foreign, refuse_unknown

COMPOSE = "com.docker.compose"


def container(project: str, folder: Path | str, service: str = "hub") -> Thing:
    labels = {"project": project, "project.working_dir": f"{folder}/compose", "service": service, "config-hash": "1"}
    return Thing(f"{project}-{service}", {f"{COMPOSE}.{name}": value for name, value in labels.items()})


def server(instance: str, **image_labels: str) -> Thing:
    """A user's server of an image with labels of compose."""
    inherited = {f"{COMPOSE}.{name}": value for name, value in image_labels.items()}
    return Thing(f"{instance}-ann", {**inherited, "dockyard.instance": instance})


def home(project: str) -> Thing:
    return Thing(f"{project}-home-ann", {"dockyard.instance": project})


def record(project: str, folder: Path | str) -> Thing:
    return Thing(f"{project}_kit-folder", {"dockyard.kit": project, "dockyard.folder": str(folder)})


def database(project: str) -> Thing:
    return Thing(f"{project}_hub-data", {f"{COMPOSE}.project": project, f"{COMPOSE}.volume": "hub-data"})


@pytest.fixture
def first(tmp_path: Path) -> Path:
    folder = tmp_path / "first kit"
    (folder / "compose").mkdir(parents=True)
    return folder


@pytest.fixture
def second(tmp_path: Path) -> Path:
    folder = tmp_path / "second"
    (folder / "compose").mkdir(parents=True)
    return folder


class TestForeign:
    @pytest.mark.parametrize("servers", [0, 1, 5])
    def test_running_kit_is_refused_however_many_servers_run(self, first: Path, second: Path, servers: int) -> None:
        inherited = server("lab", project="lab", service="singleuser")
        engine = Engine(containers=[*[inherited] * servers, container("lab", first), *[inherited] * servers])
        with pytest.raises(Refused, match=f"belongs to the kit in {first} on this engine"):
            refuse_foreign(engine, "lab", str(second))
        refuse_foreign(engine, "lab", str(first))

    def test_stopped_kit_with_nothing_but_volumes_is_refused(self, first: Path, second: Path) -> None:
        engine = Engine(volumes=[home("lab"), record("lab", first)])
        with pytest.raises(Refused, match="COMPOSE_PROJECT_NAME"):
            refuse_foreign(engine, "lab", str(second))
        refuse_foreign(engine, "lab", str(first))

    def test_own_containers_do_not_hide_another_kits(self, first: Path, second: Path) -> None:
        engine = Engine(containers=[container("lab", second, "proxy"), container("lab", first)])
        with pytest.raises(Refused):
            refuse_foreign(engine, "lab", str(second))

    def test_server_of_an_image_of_another_project_shows_nothing(self, first: Path, second: Path) -> None:
        """Even if its image was committed from a container, with all labels."""
        committed = server("lab", project="web", service="app", **{"project.working_dir": str(first)})
        refuse_foreign(Engine(containers=[committed]), "web", str(second))
        helper = Thing("x", {**committed.labels, "dockyard.instance": "", "dockyard.helper": "lab"})
        refuse_foreign(Engine(containers=[helper]), "web", str(second))

    def test_folder_by_a_link_is_the_same(self, first: Path, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(first)
        engine = Engine(containers=[container("lab", tmp_path / "link")], volumes=[record("lab", tmp_path / "link")])
        refuse_foreign(engine, "lab", str(first))

    def test_kit_that_was_moved_is_the_same(self, first: Path, second: Path) -> None:
        engine = Engine(containers=[container("lab", first)], volumes=[record("lab", first)])
        first.rename(first.parent / "elsewhere")
        refuse_foreign(engine, "lab", str(first.parent / "elsewhere"))
        # A folder without a kit in it, such as a mount point.
        first.mkdir()
        refuse_foreign(engine, "lab", str(second))

    def test_folder_is_gone_only_if_it_is_certain(self, first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert not is_gone(str(first))
        assert is_gone(str(first / "a" / "b"))
        (first / "file").touch()
        assert is_gone(str(first / "file" / "b"))
        monkeypatch.setattr("os.access", lambda path, mode: False)
        assert not is_gone(str(first / "a"))


class TestUnknown:
    def test_volumes_without_a_record_are_not_destroyed(self, first: Path) -> None:
        for volume in (home("lab"), database("lab")):
            with pytest.raises(Refused, match="'make up' first"):
                refuse_unknown(Engine(volumes=[volume]), "lab", str(first))
        refuse_unknown(Engine(volumes=[home("other")]), "lab", str(first))
        refuse_unknown(Engine(volumes=[home("lab"), record("lab", first)]), "lab", str(first))
        refuse_unknown(Engine(volumes=[home("lab")], containers=[container("lab", first)]), "lab", str(first))


class TestClash:
    @pytest.mark.parametrize(
        "other", ["lab-2", "lab-lab", "lab-home", "lab-shared", "lab-shared-zoo", "lab-2-", "lab-", "lab-a-2d"]
    )
    def test_names_that_can_be_equal(self, other: str) -> None:
        assert can_clash("lab", other)
        assert can_clash(other, "lab")

    @pytest.mark.parametrize(
        "other", ["lab", "lab2", "lab_2", "lab_2-a", "laboratory", "la", "x-lab", "lab-zoo-zoo", "lab-a-30"]
    )
    def test_names_that_cannot_be_equal(self, other: str) -> None:
        assert not can_clash("lab", other)
        assert not can_clash(other, "lab")

    def test_new_kit_is_refused_with_a_name_that_is_free(self) -> None:
        engine = Engine(volumes=[database("lab")])
        with pytest.raises(Refused, match="such as lab_2"):
            refuse_clash(engine, "lab-2")
        with pytest.raises(Refused, match="the kit lab-2 is on this engine"):
            refuse_clash(Engine(volumes=[record("lab-2", "/x")]), "lab")

    def test_kit_with_data_keeps_its_name(self) -> None:
        refuse_clash(Engine(volumes=[database("lab"), database("lab-2")]), "lab-2")
        refuse_clash(Engine(volumes=[database("lab"), home("lab-2")]), "lab-2")

    def test_other_projects_are_not_kits(self) -> None:
        web = Thing("lab-2_data", {f"{COMPOSE}.project": "lab-2", f"{COMPOSE}.volume": "data"})
        refuse_clash(Engine(volumes=[web], containers=[container("lab-2", "/web", "app")]), "lab")


def test_orphans_are_composes_own_containers_only(first: Path) -> None:
    edge, hub = container("lab", first, "edge"), container("lab", first)
    task = Thing("run", {**edge.labels, f"{COMPOSE}.oneoff": "True"})
    # An image that a project named lab has built for its service notebook.
    foreign = server("lab", project="lab", service="notebook")
    engine = Engine(containers=[edge, hub, task, foreign, container("other", first, "edge")])
    assert engine.orphans("lab", ["hub", "proxy"]) == [edge.id]

"""SHARED_VOLUMES: who has which volume where, and what is said of a wrong entry."""

from __future__ import annotations

import pytest

from dockyard.settings.sharing import Shared, is_home, parse, volumes


@pytest.mark.parametrize(
    ("text", "shared"),
    [
        ("data:/shared/data", Shared("data", "/shared/data", "rw", "")),
        (" course-1:/course/:ro ", Shared("course-1", "/course", "ro", "")),
        ("data:/data@staff", Shared("data", "/data", "rw", "staff")),
        ("data:/data@org:team", Shared("data", "/data", "rw", "org:team")),
        ("data:/data:ro@org:team", Shared("data", "/data", "ro", "org:team")),
        ("data:/home/jovyan/shared:rw", Shared("data", "/home/jovyan/shared", "rw", "")),
    ],
)
def test_every_form(text: str, shared: Shared) -> None:
    assert parse(text) == shared


@pytest.mark.parametrize(
    "text", ["data", "data:shared", ":/data", "/srv:/data", "data:/data:rx", "data:/data@", "-d:/x"]
)
def test_what_is_of_no_form(text: str) -> None:
    with pytest.raises(ValueError, match="is not of the form"):
        parse(text)


@pytest.mark.parametrize("path", ["/etc", "/usr/lib/", "/opt/notebook", "/x/../etc", "/x//y", "/home/jovyan", "/tmp"])
def test_the_systems_own_places_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is the system's own"):
        parse(f"data:{path}")


def test_who_may_write_comes_first() -> None:
    shared = [parse("data:/data:ro@class"), parse("data:/data@staff"), parse("public:/public:ro")]
    assert volumes(shared, "lab") == {
        "lab-shared-data": [
            {"bind": "/data", "mode": "rw", "groups": ["staff"]},
            {"bind": "/data", "mode": "ro", "groups": ["class"]},
        ],
        "lab-shared-public": [{"bind": "/public", "mode": "ro"}],
    }


@pytest.mark.parametrize("path", ["/home/jovyan", "/home/rstudio", "/root", "/data", "/opt/work", "/srv/home/x"])
def test_is_home(path: str) -> None:
    assert is_home(path)


@pytest.mark.parametrize(
    "path", ["/", "//", "//data", "/home", "/home/", "/home/../etc", "/etc/x", "/usr", "/proc/1", "/dev/shm", "/tmp/x"]
)
def test_is_home_refuses_places_of_the_system(path: str) -> None:
    assert not is_home(path)

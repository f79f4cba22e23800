from __future__ import annotations

import pytest

from dockerspawner._storage.folders import as_in_mountinfo, folder_above


@pytest.mark.parametrize(
    ("path", "above"),
    [
        ("/h/ann/work/data", "/h/ann/"),
        ("/h/ann", ""),
        ("/h/ann/", ""),
        ("/h/anna/x", ""),
        ("/h/x/../ann/work", "/h/ann/"),
        ("/other", ""),
    ],
)
def test_folder_above_finds_a_folder_that_holds_the_path(path: str, above: str) -> None:
    assert folder_above(path, ["/h/ann/", "/srv"]) == above


def test_folder_above_with_the_root_folder_holds_everything() -> None:
    assert folder_above("/h/ann", ["/"]) == "/"


def test_as_in_mountinfo_escapes_what_would_end_a_field() -> None:
    assert as_in_mountinfo("a b\\c\td\n") == "a\\040b\\134c\\011d\\012"

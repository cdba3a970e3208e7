from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from n4a_flows.storage.errors import InvalidInputError, MissingFileError, PlaceError
from n4a_flows.storage.places import Place, is_url, located, without_credentials

SECRET = "sftp://lab:s3cret@instrument.example/incoming"


@pytest.fixture(autouse=True)
def empty_memory() -> Iterator[None]:
    yield
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture(params=["memory://place", "local://"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A folder in an object store, and one in a file system."""
    return Place(request.param if request.param != "local://" else f"local://{tmp_path}/place")


def test_urls_and_paths_are_told_apart() -> None:
    assert located("incoming/a.csv") == Path("incoming/a.csv")
    assert located(Path("a.csv")) == Path("a.csv")
    assert located("file:///data/a%20b.csv") == Path("/data/a b.csv")
    assert located("memory://a.csv") == Place("memory://a.csv")
    assert not is_url("C:\\data")
    for url in ("file://elsewhere/data", "simplecache::s3://bucket/a.csv"):
        with pytest.raises(InvalidInputError):
            located(url)


def test_files_are_written_whole_listed_read_and_removed(place: Place, tmp_path: Path) -> None:
    (place / "b.csv").write(b"two")
    (place / "sub" / "a.csv").write(b"first")
    local = tmp_path / "here"
    local.write_bytes(b"three")
    (place / "c.csv").put(local)
    (place / "c.csv").write(b"three again")

    assert [str(file) for file in place.files()] == [f"{place}/b.csv", f"{place}/c.csv", f"{place}/sub/a.csv"]
    assert [file.name for file in (place / "*.csv").matches() or ()] == ["b.csv", "c.csv"]
    assert place.matches() is None
    assert (place / "c.csv").read() == b"three again"
    assert (place / "c.csv").size() == 11
    assert (place / "b.csv").is_file()
    assert place.is_folder()
    (place / "sub" / "a.csv").fetch(local)
    assert local.read_bytes() == b"first"
    (place / "b.csv").move(place / "quarantine" / "b.csv")
    (place / "c.csv").remove()
    (place / "c.csv").remove()
    assert [str(file) for file in place.files()] == [f"{place}/quarantine/b.csv", f"{place}/sub/a.csv"]


def test_what_is_not_there_is_an_error_that_says_so(place: Place) -> None:
    for look in (place.read, place.size):
        with pytest.raises(MissingFileError, match=r"place: check the URL"):
            look()
    assert place.state() is None
    assert not place.is_folder()
    assert list(place.files()) == []


def test_a_file_that_changes_has_another_state(place: Place) -> None:
    file = place / "a.csv"
    file.write(b"1")
    before = file.state()
    file.write(b"12")
    assert file.state() != before


def test_credentials_are_used_and_never_shown() -> None:
    secret = Place(SECRET) / "a.csv"
    assert str(secret) == "sftp://instrument.example/incoming/a.csv"
    assert repr(secret) == "Place('sftp://instrument.example/incoming/a.csv')"
    again = pickle.loads(pickle.dumps(secret))  # noqa: S301
    assert again == secret
    assert again._url == secret._url, "a worker gets all of it"
    assert str(Place("https://host/a.csv?sig=s3cret")) == "https://host/a.csv"
    said = without_credentials(f"cannot read {SECRET} and https://host/a?X-Amz-Signature=s3cret, sorry", "***")
    assert said == "cannot read sftp://***@instrument.example/incoming and https://host/a?*** sorry"


class Broken(MemoryFileSystem):
    """A library that quotes the URL in what it raises."""

    protocol = "broken"

    def cat_file(self, path: str, *args: Any, **kwargs: Any) -> bytes:
        raise ValueError(f"401 for broken://lab:s3cret@host{path}")


def test_an_error_from_out_there_does_not_tell_the_password() -> None:
    fsspec.register_implementation("broken", Broken, clobber=True)
    with pytest.raises(PlaceError, match=r"cannot be read .*401 for broken://host") as caught:
        Place("broken://lab:s3cret@host/a.csv").read()
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__, "nor does a traceback"


def test_what_cannot_be_done_is_said() -> None:
    with pytest.raises(PlaceError, match="can only be read"):
        Place("https://host/a.csv").write(b"1")
    with pytest.raises(InvalidInputError, match="no scheme 'nowhere'"):
        Place("nowhere://a.csv").read()
    with pytest.raises(PlaceError, match="needs a package that is not here"):
        Place("gs://bucket/a.csv").read()

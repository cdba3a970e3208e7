"""Thousands of damaged bundles: each is refused with an error of ours, or is the same chain still; none leaves anything behind."""

from __future__ import annotations

import io
import json
import random
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle_chains import make_chain
from foreign_bundles import foreign_members
from sklearn.preprocessing import StandardScaler

from n4a_flows.storage import WorkspaceStore
from n4a_flows.storage.codecs import content_hash
from n4a_flows.storage.errors import N4AError

SECONDS_A_CASE = 5.0
Members = dict[str, bytes]


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory, spectra: np.ndarray, y: np.ndarray) -> bytes:
    store = WorkspaceStore(tmp_path_factory.mktemp("home"))
    run_id = store.begin_run("run", {}, [])
    pipeline_id = store.begin_pipeline(run_id, "p", [], {}, "set", "")
    chain_id = make_chain(
        store, pipeline_id, spectra, y, keys=("fold_0", "fold_final"), transformers=[StandardScaler()]
    )
    return store.export_chain(chain_id, store.workspace_path / "fat").read_bytes()


@pytest.fixture(scope="module")
def foreign(spectra: np.ndarray, y: np.ndarray) -> bytes:
    return zipped(foreign_members(spectra, y))


def zipped(members: Members) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def unzipped(data: bytes) -> Members:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def truncated(good: bytes, chance: random.Random) -> Iterator[bytes]:
    for _ in range(200):
        yield good[: chance.randrange(len(good))]


def flipped(good: bytes, chance: random.Random) -> Iterator[bytes]:
    for _ in range(400):
        data = bytearray(good)
        for _ in range(chance.choice([1, 1, 1, 4, 50])):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        yield bytes(data)


def flipped_in_the_directory(good: bytes, chance: random.Random) -> Iterator[bytes]:
    start = good.index(b"PK\x01\x02")
    for _ in range(300):
        data = bytearray(good)
        data[chance.randrange(start, len(data))] = chance.randrange(256)
        yield bytes(data)


def cut_and_pasted(good: bytes, chance: random.Random) -> Iterator[bytes]:
    for _ in range(100):
        a, b, c = sorted(chance.randrange(len(good)) for _ in range(3))
        yield chance.choice([good[:a] + good[b:], good[:b] + good[a:], good[:a] + good[b:c] + good[a:b] + good[c:]])


def rubbish(good: bytes, chance: random.Random) -> Iterator[bytes]:
    for _ in range(100):
        noise = chance.randbytes(chance.randrange(400))
        yield chance.choice([noise, b"PK\x03\x04" + noise, good[:30] + noise, b"PK\x03\x04" + noise + good[-22:]])


def of_something_else(good: bytes, chance: random.Random) -> Iterator[bytes]:
    names = [*unzipped(good), "a.txt", "artifacts/step_1_x.joblib", "pipeline.json", "trace.json", "fold_weights.json"]
    values = [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b'{"steps": [{}]}',
        b'{"model_step_index": 1}',
        b"\x80\x04.",
    ]
    for _ in range(200):
        picked = chance.sample(names, chance.randrange(1, len(names)))
        yield zipped({name: chance.choice(values) for name in picked})


ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    10**30,
    1.5,
    "",
    "x",
    "../../x",
    "fold_0",
    [],
    [[]],
    {},
    {"a": []},
    ["x"],
    float("nan"),
]


def with_odd_values(good: bytes, chance: random.Random) -> Iterator[bytes]:
    """Its documents with odd values somewhere, and digests that fit."""
    members = unzipped(good)
    documents = [name for name in members if name.endswith(".json")]
    for _ in range(300):
        changed = dict(members)
        for name in chance.sample(documents, chance.choice([1, 1, 2])):
            document = json.loads(changed[name])
            places = list(_places(document))
            for _ in range(chance.choice([1, 1, 3])):
                holder, key = chance.choice(places)
                if chance.random() < 0.2 and isinstance(holder, dict):
                    holder.pop(key, None)
                else:
                    holder[key] = chance.choice(ODD)
            changed[name] = json.dumps(document).encode()
        manifest = json.loads(changed["manifest.json"])
        if isinstance(manifest.get("members"), dict):
            for name in manifest["members"]:
                if name in changed:
                    manifest["members"][name] = {"sha256": content_hash(changed[name]), "size": len(changed[name])}
            changed["manifest.json"] = json.dumps(manifest).encode()
        yield zipped(changed)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


HARM: dict[str, Callable[[bytes, random.Random], Iterator[bytes]]] = {
    found.__name__: found
    for found in (
        truncated,
        flipped,
        flipped_in_the_directory,
        cut_and_pasted,
        rubbish,
        of_something_else,
        with_odd_values,
    )
}


@pytest.mark.parametrize("origin", ["ours", "foreign"])
@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_bundle_is_refused_or_the_same_still(
    harm: str, origin: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    good: bytes = request.getfixturevalue(origin)
    store = WorkspaceStore(tmp_path / "ws")
    path = tmp_path / "case.n4a"
    path.write_bytes(good)
    digest = store.import_bundle(path).digest
    # A changed document may be one of another chain, and so may anything in a bundle without digests. Changed bytes never are.
    may_be_another = harm == "with_odd_values" or (harm == "of_something_else" and origin == "foreign")
    before = sorted(tmp_path.rglob("*"))
    for number, data in enumerate(HARM[harm](good, random.Random(f"{harm} of {origin}"))):
        path.write_bytes(data)
        started = time.monotonic()
        try:
            report = store.import_bundle(path, versions="allow")
        except N4AError:
            pass
        else:
            assert may_be_another or report.digest == digest, number
        assert time.monotonic() - started < SECONDS_A_CASE, number
    if not may_be_another:
        assert sorted(tmp_path.rglob("*")) == before
        assert store.list_runs().height == 1

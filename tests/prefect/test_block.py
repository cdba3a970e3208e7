from __future__ import annotations

import os
import pickle
import re
import runpy
import subprocess
import sys
from pathlib import Path

import cloudpickle
import pytest
from prefect.blocks.core import Block
from prefect.testing.standard_test_suites import BlockStandardTestSuite
from pydantic import ValidationError

from n4a_flows import WorkspaceStoreBlock
from n4a_flows.storage import WorkspaceStore
from n4a_flows.storage.errors import InvalidInputError, N4AError


class TestAsPrefectAsksOfBlocks(BlockStandardTestSuite):
    @pytest.fixture
    def block(self) -> type[Block]:
        return WorkspaceStoreBlock

    @pytest.mark.skip(reason="downloads a logo; the block has none")
    def test_has_a_valid_image(self, block: type[Block]) -> None: ...


def test_name_slug_and_order_of_the_fields_are_those_that_stored_documents_rely_on() -> None:
    assert WorkspaceStoreBlock.get_block_type_slug() == "workspace-store"
    assert WorkspaceStoreBlock._to_block_type().name == "WorkspaceStore"
    assert list(WorkspaceStoreBlock.model_json_schema()["properties"]) == [
        "path",
        "lock_timeout",
        "trust",
        "export_folders",
        "allowed_modules",
        "read_only",
    ]


def test_open_gives_the_workspace_with_the_settings_of_the_block(tmp_path: Path) -> None:
    block = WorkspaceStoreBlock(path=tmp_path / "ws", lock_timeout=3, allowed_modules=["sklearn"])

    with block.open() as store:
        assert isinstance(store, WorkspaceStore)
        assert store.workspace_path == tmp_path / "ws"
        assert store.lock_timeout == 3
        assert store.trust == "modules"
        assert store.allowed_modules == ("sklearn",)
        assert store.list_runs().is_empty()


def test_a_read_only_block_refuses_to_write(tmp_path: Path) -> None:
    WorkspaceStoreBlock(path=tmp_path).open().close()

    with WorkspaceStoreBlock(path=tmp_path, read_only=True).open() as store:
        assert store.list_runs().is_empty()
        with pytest.raises(N4AError):
            store.begin_run("run", {}, [])


def test_a_relative_path_keeps_meaning_the_same_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    block = WorkspaceStoreBlock(path="ws")
    monkeypatch.chdir("/")

    assert block.workspace_path == tmp_path / "ws"


def test_home_is_that_of_the_machine_that_opens_the_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = WorkspaceStoreBlock(path="~/ws")
    monkeypatch.setenv("HOME", str(tmp_path))

    assert block.workspace_path == tmp_path / "ws"


@pytest.mark.parametrize("dump", [pickle.dumps, cloudpickle.dumps])
def test_it_can_be_sent_to_another_process_while_the_workspace_is_open(tmp_path: Path, dump: object) -> None:
    block = WorkspaceStoreBlock(path=tmp_path)
    with block.open() as store:
        run_id = store.begin_run("run", {}, [])
        copy = pickle.loads(dump(block))  # type: ignore[operator]  # noqa: S301

    with copy.open() as store:
        assert store.get_run(run_id)["name"] == "run"


@pytest.mark.parametrize(
    "wrong", [{"lock_timeout": -1}, {"trust": "some"}, {"export_folders": ["exports"]}, {"path": None}]
)
def test_wrong_settings_are_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        WorkspaceStoreBlock(**{"path": tmp_path, **wrong})


class TestExportPath:
    def test_a_name_lies_in_the_exports_folder_which_is_made(self, tmp_path: Path) -> None:
        block = WorkspaceStoreBlock(path=tmp_path / "ws")

        assert block.export_path("best.n4a") == tmp_path / "ws" / "exports" / "best.n4a"
        assert block.export_path("fat/best.n4a") == tmp_path / "ws" / "exports" / "fat" / "best.n4a"
        assert (tmp_path / "ws" / "exports" / "fat").is_dir()

    def test_other_folders_are_open_to_exports_only_when_the_block_says_so(self, tmp_path: Path) -> None:
        shared = tmp_path / "shared"

        with pytest.raises(InvalidInputError, match="outside"):
            WorkspaceStoreBlock(path=tmp_path / "ws").export_path(str(shared / "best.n4a"))
        allowing = WorkspaceStoreBlock(path=tmp_path / "ws", export_folders=[str(shared)])
        assert allowing.export_path(str(shared / "best.n4a")) == shared / "best.n4a"
        with pytest.raises(InvalidInputError, match="outside"):
            allowing.export_path(str(tmp_path / "shared-not" / "best.n4a"))

    @pytest.mark.parametrize(
        "name",
        [
            "",
            ".",
            "..",
            "../best.n4a",
            "a/../../best.n4a",
            "/etc/best.n4a",
            "a\0b",
            "/",
            "  ",
            "x" * 300,
            f"{'ü' * 150}/a.csv",
        ],
    )
    def test_what_leads_out_is_refused_and_makes_nothing(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(InvalidInputError):
            WorkspaceStoreBlock(path=tmp_path / "ws").export_path(name)
        assert list(tmp_path.iterdir()) == []

    def test_links_devices_and_folders_are_refused(self, tmp_path: Path) -> None:
        exports = tmp_path / "ws" / "exports"
        exports.mkdir(parents=True)
        (exports / "out").symlink_to(tmp_path)
        (exports / "file").symlink_to(tmp_path / "elsewhere")
        (exports / "here").symlink_to(exports / "other")
        (exports / "folder").mkdir()
        os.mkfifo(exports / "pipe")
        block = WorkspaceStoreBlock(path=tmp_path / "ws")

        for name in ("out/best.n4a", "file", "here", "folder", "pipe"):
            with pytest.raises(InvalidInputError):
                block.export_path(name)


def test_importing_the_package_is_light_and_the_names_come_when_used() -> None:
    script = "import sys, n4a_flows, n4a_flows.storage; print('prefect' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"

    from n4a_flows import WorkspaceStoreBlock, flows, tasks

    names = (WorkspaceStoreBlock.__name__, flows.export.name, tasks.top_predictions.name)
    assert names == ("WorkspaceStoreBlock", "export", "top_predictions")
    with pytest.raises(ImportError):
        from n4a_flows import nothing_of_that_name  # noqa: F401


def test_installing_the_package_registers_the_block() -> None:
    script = (
        "from prefect.plugins import load_prefect_collections\n"
        "from prefect.utilities.dispatch import get_registry_for_type\n"
        "from prefect.blocks.core import Block\n"
        "loaded = load_prefect_collections()['n4a_flows']\n"
        "assert not isinstance(loaded, Exception), loaded\n"
        "print([cls.__module__ for key, cls in get_registry_for_type(Block).items() if cls.__name__ == 'WorkspaceStoreBlock'])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "['n4a_flows.block']"


@pytest.mark.prefect
class TestOnAServer:
    def test_the_command_of_prefect_registers_the_block(self, prefect_server: str) -> None:
        command = Path(sys.executable).with_name("prefect")
        result = subprocess.run(
            [str(command), "block", "register", "-m", "n4a_flows.block"],
            capture_output=True,
            text=True,
            env={**os.environ, "PREFECT_API_URL": prefect_server, "COLUMNS": "200"},
        )

        assert result.returncode == 0, result.stderr
        assert "Successfully registered 1 block" in result.stdout
        assert "WorkspaceStore" in result.stdout

    def test_a_saved_block_is_loaded_by_a_fresh_process(self, tmp_path: Path, prefect_server: str) -> None:
        WorkspaceStoreBlock(path=tmp_path / "ws", trust="none").save("test-block", overwrite=True)

        script = (
            "import asyncio\n"
            "from prefect.blocks.core import Block\n"
            "block = asyncio.run(Block.aload('workspace-store/test-block'))\n"
            "with block.open() as store:\n    print(repr(store))"
        )
        result = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            env={**os.environ, "PREFECT_API_URL": prefect_server},
        )

        assert result.returncode == 0, result.stderr
        assert str(tmp_path / "ws") in result.stdout

    def test_documents_become_blocks_and_are_brought_up_to_date(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        script = runpy.run_path(str(SCRIPT))
        document = tmp_path / "blocks" / "test-lab.yaml"
        document.parent.mkdir()

        def run() -> str:
            monkeypatch.setattr(sys, "argv", ["workspace_store.py", str(document)])
            script["main"]()
            return capsys.readouterr().out

        document.write_text("path: ../ws\nlock_timeout: 120\n")
        where = tmp_path / "ws"
        assert run() == f"workspace-store/test-lab created: {where}\n"
        assert run() == f"workspace-store/test-lab unchanged: {where}\n"
        document.write_text("path: ../ws\nlock_timeout: 120\ntrust: none\nread_only: true\n")
        assert run() == f"workspace-store/test-lab updated: {where}\n"
        block = WorkspaceStoreBlock.load("test-lab")
        assert (block.path, block.lock_timeout, block.trust, block.read_only) == (where, 120, "none", True)


SCRIPT = Path(__file__).parents[2] / "blocks" / "workspace_store.py"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("lab.yaml", "path: [", "is no YAML"),
        ("lab.yaml", "workspace", "must hold the fields of a block"),
        ("lab.yaml", "path: ws\nread-only: true", "no field 'read-only'; it has path, lock_timeout"),
        ("lab.yaml", "lock_timeout: 3", "path: Field required"),
        ("lab.yaml", "path: ws\ntrust: some", "trust: Input should be 'all', 'modules' or 'none'"),
        ("lab.yaml", "path: ws\nexport_folders: [exports]", "'exports' is not an absolute path"),
        ("My lab.yaml", "path: ws", "cannot be called 'My lab'"),
        ("nowhere.yaml", None, "cannot be read: No such file"),
    ],
)
def test_a_bad_document_is_one_line_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str | None, said: str
) -> None:
    document = tmp_path / name
    if text is not None:
        document.write_text(text)
    monkeypatch.setattr(sys, "argv", ["workspace_store.py", str(document)])

    with pytest.raises(SystemExit, match=f"^error: {re.escape(str(document))}.*{re.escape(said)}"):
        runpy.run_path(str(SCRIPT))["main"]()


def test_the_documents_of_the_example_describe_blocks() -> None:
    described = runpy.run_path(str(SCRIPT))["described"]
    blocks = {document.stem: described(document) for document in SCRIPT.parent.glob("*.yaml")}
    assert blocks["local"] == WorkspaceStoreBlock(path=SCRIPT.parents[1] / "workspace")
    assert blocks["lab"].lock_timeout > blocks["local"].lock_timeout

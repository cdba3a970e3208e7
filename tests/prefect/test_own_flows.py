"""The flow of the page about flows of one's own, run as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from n4a_flows import WorkspaceStoreBlock, tasks
from n4a_flows.storage import WorkspaceStore

PAGE = (Path(__file__).parents[2] / "docs" / "own_flows.md").read_text()


def test_every_task_is_on_the_page() -> None:
    table = PAGE.partition("## All tasks")[2]
    listed = re.findall(r"`(\w+)`", "\n".join(line for line in table.splitlines() if line.startswith("|")))
    assert sorted(listed) == sorted(tasks.__all__)


@pytest.mark.prefect
def test_the_flow_promotes_backs_up_and_hands_on(block: WorkspaceStoreBlock, trained: Any, tmp_path: Path) -> None:
    names: dict[str, Any] = {"__name__": "own_flows"}
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(code, names)

    chain_id = names["weekly_review"](block, "tecator", "fat", tmp_path / "backup")

    assert chain_id == trained.best["fat"]
    assert WorkspaceStore.restore(tmp_path / "backup", tmp_path / "again", dry_run=True).artifacts > 0
    assert (block.workspace_path / "exports" / "fat-plant.n4a").is_file()
    project_id = names["put_into_project"](block, [trained.run_id], "meat")
    with block.open() as store:
        assert store.get_alias("tecator/fat/plant") == chain_id
        assert store.list_runs(project_id=project_id)["run_id"].to_list() == [trained.run_id]

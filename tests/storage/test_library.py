"""The library of templates: what it keeps, what it reads, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sklearn.cross_decomposition import PLSRegression

from n4a_flows.spectra import load_tecator
from n4a_flows.storage import PipelineLibrary, WorkspaceStore
from n4a_flows.storage.errors import (
    InvalidInputError,
    MissingFileError,
    N4AError,
    TemplateError,
    TemplateExistsError,
    UnknownIdError,
    WorkspaceError,
)
from n4a_flows.storage.template_folder import find_template
from n4a_flows.training import PipelineRunner, expand

PLS = {"class": "sklearn.cross_decomposition.PLSRegression", "params": {"n_components": 4}}
DEFINITION = ["chemotools.scatter.StandardNormalVariate", {"model": PLS, "name": "größe"}]


@pytest.fixture
def library(tmp_path: Path) -> PipelineLibrary:
    (tmp_path / "ws").mkdir()
    return PipelineLibrary(tmp_path / "ws")


@pytest.fixture
def of_nirs4all(library: PipelineLibrary) -> Any:
    """Writes a template as nirs4all lays it out; returns its folder."""

    def write(category: str, folder: str, definition: Any = DEFINITION, **metadata: Any) -> Path:
        path = library.workspace_path / "library" / category / folder
        path.mkdir(parents=True)
        (path / "pipeline.json").write_text(json.dumps(definition))
        if metadata:
            (path / "metadata.json").write_text(json.dumps({"category": category, **metadata}))
        (path / "README.md").write_text("# a template")
        return path

    return write


# ---------------------------------------------------------------------- keep and find


def test_a_template_is_one_file_with_the_definition_and_what_is_said_of_it(library: PipelineLibrary) -> None:
    path = library.save_template(
        DEFINITION, "My <Best> PLS", "meat", "for fat", ["nir", "fat"], {"rmsecv": 2.1}, notes="of July"
    )

    assert path == library.workspace_path / "library" / "templates" / "my_best_pls.json"
    assert library.load_template("My <Best> PLS") == library.load_template("my_best_pls", "meat") == DEFINITION
    said = library.get_template_metadata("MY BEST PLS")
    assert {**said, "created_at": "", "modified_at": ""} == {
        "name": "My <Best> PLS",
        "category": "meat",
        "description": "for fat",
        "tags": ["nir", "fat"],
        "metrics": {"rmsecv": 2.1},
        "notes": "of July",
        "created_at": "",
        "modified_at": "",
        "version": "1.0",
    }
    document = json.loads(path.read_text())
    assert document == {**said, "definition": DEFINITION}
    assert [file.name for file in path.parent.iterdir()] == [path.name], "nothing is left beside it"


def test_a_dict_stays_a_dict_and_a_generator_stays_one(library: PipelineLibrary) -> None:
    definition = {"name": "x", "pipeline": [{"model": {**PLS, "params": {"n_components": {"_range_": [1, 9, 2]}}}}]}
    library.save_template(definition, "x")
    assert library.load_template("x") == definition
    assert len(expand(library.load_template("x"))) == 5


def test_a_name_is_taken_once_whatever_the_category(library: PipelineLibrary) -> None:
    first = library.save_template(DEFINITION, "pls", "meat")
    with pytest.raises(TemplateExistsError, match=r"pls\.json"):
        library.save_template([PLS], "PLS", "corn")
    with pytest.raises(FileExistsError):
        library.save_template([PLS], "pls")
    assert library.load_template("pls") == DEFINITION
    began = library.get_template_metadata("pls")["created_at"]

    assert library.save_template([PLS], "PLS", "corn", overwrite=True) == first
    assert library.load_template("pls") == [PLS]
    assert library.get_template_metadata("pls")["category"] == "corn"
    assert library.get_template_metadata("pls")["created_at"] == began


def test_templates_are_listed_by_category_and_tags(library: PipelineLibrary) -> None:
    assert library.list_templates() == []
    for name, category, tags in (("b", "meat", ["nir"]), ("a", "meat", ["fat", "nir"]), ("c", "corn", [])):
        library.save_template(DEFINITION, name, category, tags=tags)
    assert [item["name"] for item in library.list_templates()] == ["c", "a", "b"]
    assert [item["name"] for item in library.list_templates("meat")] == ["a", "b"]
    assert [item["name"] for item in library.list_templates(tags=["fat", "none"])] == ["a"]
    assert library.list_templates("nowhere") == []
    with pytest.raises(InvalidInputError, match="list of text"):
        library.list_templates(tags="nir")


def test_deleting_takes_the_one_template(library: PipelineLibrary) -> None:
    library.save_template(DEFINITION, "a")
    library.save_template(DEFINITION, "b", "meat")
    library.delete_template("A")
    assert [item["name"] for item in library.list_templates()] == ["b"]
    with pytest.raises(MissingFileError):
        library.delete_template("b", "general")
    library.delete_template("b", "meat")
    for verb in (library.delete_template, library.load_template, library.get_template_metadata):
        with pytest.raises(FileNotFoundError, match="'b'"):
            verb("b")


def test_what_is_not_there_is_answered_with_what_is(library: PipelineLibrary) -> None:
    library.save_template(DEFINITION, "My own")
    with pytest.raises(MissingFileError, match=r"'other'.*my_own.*raw_pls, snv_pls"):
        library.load_template("other")
    with pytest.raises(MissingFileError, match="in the category 'meat'"):
        library.load_template("my own", "meat")


def test_the_workspace_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="nowhere"):
        PipelineLibrary(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


# ---------------------------------------------------------------------- names that lead elsewhere

BAD_NAMES = [
    "",
    ".",
    "..",
    "../x",
    "a/../../x",
    "..\\x",
    "/etc/passwd",
    "\\x",
    "C:\\x",
    "a\0b",
    "a\nb",
    "???",
    "x" * 251,
    7,
]
BAD_CATEGORIES = ["", " ", ".", "..", "../../x", "a/b", "a\\b", "/abs", "C:\\x", "a\0", 7]


@pytest.mark.parametrize("name", BAD_NAMES, ids=repr)
def test_a_name_that_leads_elsewhere_is_refused_by_every_verb(
    library: PipelineLibrary, tmp_path: Path, name: str
) -> None:
    library.save_template(DEFINITION, "kept")
    before = sorted(tmp_path.rglob("*"))
    for verb in (
        lambda: library.save_template(DEFINITION, name, overwrite=True),
        lambda: library.load_template(name),
        lambda: library.get_template_metadata(name),
        lambda: library.delete_template(name),
        lambda: library.delete_template(name, category="general"),
        lambda: library.export_template(name, tmp_path / "out"),
        lambda: library.import_template(library.workspace_path / "library" / "templates" / "kept.json", name=name),
    ):
        with pytest.raises(ValueError, match=r"template name|name of a template"):
            verb()
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("category", BAD_CATEGORIES, ids=repr)
def test_a_category_that_leads_elsewhere_is_refused_by_every_verb(
    library: PipelineLibrary, tmp_path: Path, category: str
) -> None:
    library.save_template(DEFINITION, "kept")
    before = sorted(tmp_path.rglob("*"))
    for verb in (
        lambda: library.save_template(DEFINITION, "x", category),
        lambda: library.load_template("kept", category),
        lambda: library.delete_template("kept", category),
        lambda: library.list_templates(category),
        lambda: library.import_template(library.workspace_path / "library" / "templates" / "kept.json", category),
    ):
        with pytest.raises(ValueError, match="category"):
            verb()
    assert sorted(tmp_path.rglob("*")) == before


def test_links_are_not_followed(library: PipelineLibrary, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text(json.dumps(DEFINITION))
    templates = library.save_template(DEFINITION, "kept").parent
    (templates / "linked.json").symlink_to(secret)
    for verb in (library.load_template, library.get_template_metadata):
        with pytest.raises(TemplateError, match=r"linked\.json is a link"):
            verb("linked")
    with pytest.raises(TemplateError, match="is a link"):
        library.save_template([PLS], "linked", overwrite=True)
    assert library.load_template("kept") == DEFINITION
    library.delete_template("linked")
    assert json.loads(secret.read_text()) == DEFINITION, "only the link went"

    outside = tmp_path / "outside"
    outside.mkdir()
    (templates.parent / "meat").symlink_to(outside)
    with pytest.raises(TemplateError, match="meat is a link"):
        library.load_template("kept")
    (templates.parent / "meat").unlink()
    shutil.rmtree(templates)
    templates.symlink_to(outside)
    with pytest.raises(TemplateError, match="templates is a link"):
        library.save_template(DEFINITION, "new")
    shutil.rmtree(templates.parent)
    templates.parent.symlink_to(outside)
    for refused in (lambda: PipelineLibrary(library.workspace_path), lambda: library.save_template(DEFINITION, "new")):
        with pytest.raises(TemplateError, match="library is a link"):
            refused()
    assert list(outside.iterdir()) == []


def test_a_linked_folder_of_nirs4all_loses_only_the_link(library: PipelineLibrary, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "pipeline.json").write_text("[]")
    (library.workspace_path / "library" / "meat").mkdir()
    (library.workspace_path / "library" / "meat" / "x").symlink_to(outside)
    with pytest.raises(TemplateError, match="is a link"):
        library.load_template("x")
    library.delete_template("x")
    assert (outside / "pipeline.json").is_file()


def test_a_pipe_is_not_read(library: PipelineLibrary) -> None:
    os.mkfifo(library.save_template(DEFINITION, "kept").with_name("pipe.json"))
    with pytest.raises(TemplateError, match=r"pipe\.json is no regular file"):
        library.load_template("pipe")


# ---------------------------------------------------------------------- definitions


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        ([PLSRegression(4)], "definition.1 is a PLSRegression"),
        ([{"model": PLSRegression}], "definition.1.model is a "),
        ([{"class": "x", "params": {"func": len}}], "definition.1.params.func is a builtin"),
        ([float("nan")], "definition.1 is nan"),
        ([{1: 2}], "has the key 1"),
        ("raw_pls", "not a str"),
        (None, "not a NoneType"),
    ],
)
def test_what_json_does_not_hold_is_refused(library: PipelineLibrary, definition: Any, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        library.save_template(definition, "x")
    assert library.list_templates() == []


def test_a_definition_that_holds_itself(library: PipelineLibrary) -> None:
    definition: list[Any] = []
    definition.append(definition)
    with pytest.raises(InvalidInputError, match="holds itself"):
        library.save_template(definition, "x")


# ---------------------------------------------------------------------- damage


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"42",
        b"{}",
        b'{"definition": 1}',
        b'{"definition": [NaN]}',
        b'{"definition": [], "tags": "nir"}',
        b'{"definition": [], "tags": [1]}',
        b'{"definition": [], "metrics": []}',
        b'{"definition": [], "category": "../x"}',
        b"[" * 100_000,
    ],
    ids=lambda content: repr(content[:40]),
)
def test_a_damaged_file_is_one_error_that_names_it(library: PipelineLibrary, content: bytes, tmp_path: Path) -> None:
    library.save_template(DEFINITION, "whole")
    path = library.save_template(DEFINITION, "broken")
    path.write_bytes(content)
    for verb in (
        lambda: library.load_template("broken"),
        lambda: library.get_template_metadata("broken"),
        lambda: library.list_templates(),
        lambda: library.export_template("broken", tmp_path / "out"),
        lambda: PipelineLibrary(library.workspace_path).import_template(path),
    ):
        with pytest.raises(TemplateError, match=r"broken\.json is damaged"):
            verb()
    assert not (tmp_path / "out.json").exists()
    assert library.load_template("whole") == DEFINITION
    library.save_template([PLS], "broken", overwrite=True)
    assert library.load_template("broken") == [PLS]
    path.write_bytes(content)
    library.delete_template("broken")
    assert [item["name"] for item in library.list_templates()] == ["whole"]


def test_a_file_that_was_renamed_or_put_there_by_hand(library: PipelineLibrary) -> None:
    path = library.save_template(DEFINITION, "old")
    path.rename(path.with_name("New One.json"))
    (path.parent / "bare.json").write_text(json.dumps({"pipeline": [PLS]}))
    assert [item["name"] for item in library.list_templates()] == ["bare", "New One"]
    assert library.load_template("new one") == DEFINITION
    assert library.load_template("bare") == {"pipeline": [PLS]}
    with pytest.raises(MissingFileError):
        library.load_template("old")


def test_a_full_disk_leaves_the_old_template(library: PipelineLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    library.save_template(DEFINITION, "x")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(N4AError, match="No space left"):
        library.save_template([PLS], "x", overwrite=True)
    monkeypatch.undo()
    assert library.load_template("x") == DEFINITION
    assert len(list((library.workspace_path / "library" / "templates").iterdir())) == 1


def test_of_many_who_save_one_name_one_wins(library: PipelineLibrary) -> None:
    def save(number: int) -> bool:
        try:
            PipelineLibrary(library.workspace_path).save_template([PLS], "same", notes=str(number))
        except TemplateExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(save, range(40)))
    assert sum(won) == 1
    assert library.get_template_metadata("same")["notes"] == str(won.index(True))


# ---------------------------------------------------------------------- the layout of nirs4all


def test_templates_of_nirs4all_are_read_listed_and_deleted(library: PipelineLibrary, of_nirs4all: Any) -> None:
    folder = of_nirs4all("meat", "fat_pls", name="Fat PLS", tags=["nir"], metrics={"r2": 0.9}, version="1.0")
    of_nirs4all("templates", "plain")
    assert library.load_template("Fat PLS") == DEFINITION
    said = {item["name"]: item for item in library.list_templates()}
    assert said["Fat PLS"]["metrics"] == {"r2": 0.9}
    assert said["plain"]["category"] == "templates"
    assert [item["name"] for item in library.list_templates("meat", ["nir"])] == ["Fat PLS"]
    with pytest.raises(TemplateExistsError):
        library.save_template([PLS], "fat pls")

    library.delete_template("fat pls")
    assert not folder.parent.exists(), "nor is its empty category left"
    assert [item["name"] for item in library.list_templates()] == ["plain"]


def test_a_name_in_two_old_categories_needs_one_of_them(library: PipelineLibrary, of_nirs4all: Any) -> None:
    of_nirs4all("meat", "pls", [PLS])
    of_nirs4all("corn", "pls", DEFINITION)
    for verb in (library.load_template, library.delete_template):
        with pytest.raises(InvalidInputError, match="'corn' and 'meat'"):
            verb("pls")
    assert library.load_template("pls", "meat") == [PLS]
    library.delete_template("pls", "meat")
    assert library.load_template("pls") == DEFINITION


def test_an_old_template_that_is_overwritten_becomes_a_file(library: PipelineLibrary, of_nirs4all: Any) -> None:
    folder = of_nirs4all("meat", "pls", [PLS], name="pls", created_at="2024-01-01T00:00:00")
    library.save_template(DEFINITION, "pls", overwrite=True)
    assert not folder.exists()
    assert library.load_template("pls") == DEFINITION
    assert library.get_template_metadata("pls")["created_at"] == "2024-01-01T00:00:00"


def test_damage_in_an_old_template_names_the_file(library: PipelineLibrary, of_nirs4all: Any) -> None:
    folder = of_nirs4all("meat", "pls")
    (folder / "metadata.json").write_text("[]")
    with pytest.raises(TemplateError, match=r"pls/metadata\.json"):
        library.load_template("pls")
    (folder / "metadata.json").unlink()
    (folder / "pipeline.json").write_text("{")
    with pytest.raises(TemplateError, match=r"pls/pipeline\.json"):
        library.load_template("pls")


# ---------------------------------------------------------------------- in and out


def test_a_template_travels_as_one_file(library: PipelineLibrary, tmp_path: Path) -> None:
    library.save_template(DEFINITION, "My PLS", "meat", "for fat", ["nir"], {"rmsecv": 2.0}, "notes")
    path = library.export_template("my pls", tmp_path / "out" / "mine")
    assert path == tmp_path / "out" / "mine.json"

    (tmp_path / "other").mkdir()
    other = PipelineLibrary(tmp_path / "other")
    other.import_template(tmp_path / "out" / "mine", category=None)
    changed = ("modified_at",)
    said, again = library.get_template_metadata("my pls"), other.get_template_metadata("my pls")
    assert {key: said[key] for key in said if key not in changed} == {
        key: again[key] for key in again if key not in changed
    }
    assert other.load_template("my pls") == DEFINITION
    with pytest.raises(TemplateExistsError):
        other.import_template(path)
    other.import_template(path, "corn", overwrite=True)
    assert other.get_template_metadata("my pls")["category"] == "corn"
    with pytest.raises(MissingFileError):
        other.import_template(tmp_path / "nowhere.json")
    with pytest.raises(MissingFileError, match=r"pipeline\.json"):
        other.import_template(tmp_path / "out")


def test_a_definition_in_yaml_becomes_a_template(library: PipelineLibrary, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("- model:\n    class: x.PLS\n    params: {tol: 1e-06, name: '1e-06'}\n")
    library.import_template(tmp_path / "mine.yaml")
    assert library.load_template("mine") == [{"model": {"class": "x.PLS", "params": {"tol": 1e-06, "name": "1e-06"}}}]
    (tmp_path / "steps.yml").write_text("steps: [x.PLS]\n")
    library.import_template(tmp_path / "steps.yml")
    assert library.load_template("steps") == {"steps": ["x.PLS"]}
    for text in ("[: {", "when: 2024-01-01", "- when: 2024-01-01", "&a [*a]", "just text"):
        (tmp_path / "broken.yaml").write_text(text)
        with pytest.raises(TemplateError, match=r"broken\.yaml is damaged"):
            library.import_template(tmp_path / "broken.yaml")


def test_a_library_that_cannot_be_read_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="cannot be read"):
        find_template(tmp_path / ("x" * 300), "snv_pls")


def test_a_folder_of_nirs4all_is_imported_and_copied(library: PipelineLibrary, tmp_path: Path) -> None:
    folder = tmp_path / "0001_abc"
    folder.mkdir()
    (folder / "pipeline.json").write_text(json.dumps({"pipeline": DEFINITION}))
    (folder / "manifest.yaml").write_text("metrics: {rmse: 0.5}\n")
    library.copy_from_pipeline(folder, "copied", "meat", "from a run", ["nir"])
    library.copy_from_pipeline(str(folder), "without", extract_metrics=False)
    assert library.load_template("copied") == {"pipeline": DEFINITION}
    assert library.get_template_metadata("copied")["metrics"] == {"rmse": 0.5}
    assert library.get_template_metadata("without")["metrics"] == {}
    (folder / "metadata.json").write_text(json.dumps({"name": "of theirs", "tags": ["x"]}))
    library.import_template(folder, "corn")
    assert library.get_template_metadata("of theirs")["tags"] == ["x"]
    with pytest.raises(MissingFileError):
        library.copy_from_pipeline(tmp_path / "nowhere", "x")
    (folder / "pipeline.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"pipeline\.json"):
        library.copy_from_pipeline(folder, "x")


def test_template_training_export_and_template_again_are_one_definition(tmp_path: Path) -> None:
    workspace = tmp_path / "ws"
    runner = PipelineRunner(workspace)
    spectra = load_tecator().take(range(60))
    runner.run(DEFINITION, spectra, target="fat")
    [recorded] = runner.last_recorded
    library = PipelineLibrary(workspace)

    with WorkspaceStore(workspace) as store:
        path = store.export_pipeline_config(recorded.pipeline_id, tmp_path / "exported")
    library.import_template(path, name="by file")
    library.copy_from_pipeline(recorded.pipeline_id, "by id")

    [first] = expand(DEFINITION)
    for name in ("by file", "by id"):
        [again] = expand(library.load_template(name))
        assert (again.steps, again.definition_hash) == (first.steps, first.definition_hash)
    metrics = library.get_template_metadata("by id")["metrics"]
    assert metrics == {"metric": "rmse", "best_val": recorded.best_val}
    with pytest.raises(UnknownIdError):
        library.copy_from_pipeline("no-such-pipeline", "x")


# ---------------------------------------------------------------------- what comes with the package


def test_templates_come_with_the_package_and_say_what_they_are_for(library: PipelineLibrary) -> None:
    shipped = library.list_templates(shipped=True)
    assert {item["name"] for item in shipped} == {"Raw PLS", "SNV PLS", "Derivative PLS", "EMSC PLS", "PLS-DA"}
    assert all(len(item["description"]) > 40 and item["tags"] for item in shipped)
    assert library.list_templates() == []
    assert library.load_template("raw_pls") == library.load_template("Raw PLS")
    with pytest.raises(MissingFileError):
        library.delete_template("raw pls")


def test_a_template_of_the_workspace_goes_before_one_of_the_package(library: PipelineLibrary, tmp_path: Path) -> None:
    library.import_template(library.export_template("snv pls", tmp_path / "x"), category=None)
    assert library.get_template_metadata("snv pls")["category"] == "regression"
    library.save_template([PLS], "snv pls", overwrite=True)
    assert library.load_template("snv pls") == [PLS]
    library.delete_template("snv pls")
    assert library.load_template("snv pls") != [PLS]


def test_the_page_lists_the_templates_with_the_number_of_their_pipelines(library: PipelineLibrary) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "library.md").read_text()
    said = dict(re.findall(r"^\| `([^`]+)` \| (\S+) \|", page, re.MULTILINE))
    shipped = {item["name"]: library.load_template(item["name"]) for item in library.list_templates(shipped=True)}
    assert said.keys() == shipped.keys()
    assert {name: len(expand(shipped[name])) for name in said} == {name: int(number) for name, number in said.items()}

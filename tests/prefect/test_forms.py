"""The forms that the UI makes of the flows: everything is described, may be left empty where it may be, and is refused in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools import validate

from n4a_flows import flows
from n4a_flows.flows import ExportOptions, PredictionOptions, TrainingOptions

FLOWS = {
    name: getattr(flows, name) for name in ("train_and_record", "predict_new_spectra", "monitor", "maintain", "export")
}
SCHEMAS = {name: parameter_schema(flow).model_dump() for name, flow in FLOWS.items()}
STORE = {"$ref": {"block_document_slug": "workspace-store/local"}}


def fields() -> Iterator[Any]:
    """Every field of every form: of the flow itself, and of its options."""
    for flow, schema in SCHEMAS.items():
        for name, field in schema["properties"].items():
            # What is the same as the description of the model is not said twice.
            model = schema["definitions"].get(field.get("$ref", "").rpartition("/")[2], {})
            yield pytest.param({**model, **field}, id=f"{flow}: {name}")
        for model, definition in schema["definitions"].items():
            if model != "WorkspaceStoreBlock":
                for name, field in definition["properties"].items():
                    yield pytest.param(field, id=f"{flow}: {model}.{name}")


@pytest.mark.parametrize("field", list(fields()))
def test_each_field_is_described_as_the_ui_can_show_it(field: dict[str, Any]) -> None:
    assert field["description"].rstrip().endswith(".")
    assert "<" not in field["description"], "the UI takes it for HTML"


def test_fields_that_may_be_empty_are_plain_boxes() -> None:
    switches = {
        f"{model}.{name}"
        for schema in SCHEMAS.values()
        for model, definition in schema["definitions"].items()
        for name, field in definition["properties"].items()
        if "anyOf" in field
    }
    assert switches == {"TrainingOptions.split_column", "MaintenanceOptions.retention"}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_form_that_nobody_touched_is_taken(name: str) -> None:
    schema = SCHEMAS[name]
    untouched = {key: field["default"] for key, field in schema["properties"].items() if "default" in field}
    asked = {key: "tecator" for key in schema["required"] if key != "store"}
    errors = validate({"store": STORE, **untouched, **asked}, schema)
    assert errors == []


@pytest.mark.parametrize(
    ("flow", "options", "said"),
    [
        ("train_and_record", {"test_fraction": 1.5}, "1.5 is greater than or equal to the maximum of 1"),
        ("train_and_record", {"metric": "rms"}, "'rms' is not one of ['rmse', 'mae'"),
        ("predict_new_spectra", {"settle_seconds": -1}, "-1 is less than the minimum of 0"),
        ("export", {"partition": "all"}, "'all' is not one of ['train', 'val', 'test']"),
    ],
)
def test_a_wrong_value_is_refused_in_words(flow: str, options: dict[str, Any], said: str) -> None:
    asked = {"store": STORE, "dataset": "tecator", "chain": "best", "options": options}
    wrong = {key: value for key, value in asked.items() if key in SCHEMAS[flow]["properties"]}
    (error,) = validate(wrong, SCHEMAS[flow])
    assert error.message.startswith(said)


def test_what_comes_back_empty_was_left_out() -> None:
    assert ExportOptions(dataset="", partition=None) == ExportOptions()
    assert PredictionOptions(csv_file="", unit="") == PredictionOptions()
    assert TrainingOptions(train_values=[], metric="") == TrainingOptions()
    assert TrainingOptions(test_values=[]).test_values == ()


def test_what_goes_to_the_server_comes_back_the_same() -> None:
    for options in (TrainingOptions(), TrainingOptions(split_column=None, metric="mae"), ExportOptions(run="r")):
        assert type(options)(**options.model_dump(mode="json")) == options
    assert "partition" not in ExportOptions().model_dump(mode="json")

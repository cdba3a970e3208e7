"""Options as forms: how a model tells Prefect's UI about fields that may be left empty."""

from __future__ import annotations

from typing import Any

from pydantic import (
    BaseModel,
    GetJsonSchemaHandler,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

_NULL = {"type": "null"}
_PLAIN = ("string", "integer", "number", "boolean", "array")


class Form(BaseModel):
    """Options that the UI shows as a form.

    A field such as `str | None = None` would be a switch between two types there; it is shown as a plain box or a select, which may
    be left empty. Empty means None, also where it comes back as an empty text or list.
    """

    @model_validator(mode="before")
    @classmethod
    def _empty_is_none(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {
            name: None if value in ("", []) and cls._may_be_left_out(name) else value for name, value in values.items()
        }

    @model_serializer(mode="wrap")
    def _without_empty(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        if not info.mode_is_json():
            return values
        # The UI sends back what it was given, and the server takes no null for a select.
        return {name: value for name, value in values.items() if value is not None or not self._may_be_left_out(name)}

    @classmethod
    def _may_be_left_out(cls, name: str) -> bool:
        field = cls.model_fields.get(name)
        return field is not None and not field.is_required() and field.default is None

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core_schema)
        for field in handler.resolve_ref_schema(schema).get("properties", {}).values():
            _may_be_empty(field)
        return schema


def _may_be_empty(field: dict[str, Any]) -> None:
    """Describe a field that may be None as one of its other type."""
    choices = [choice for choice in field.get("anyOf", ()) if choice != _NULL]
    if len(choices) == len(field.get("anyOf", ())) or field.get("default") is not None:
        return
    if all("enum" in choice for choice in choices):
        plain = {"type": "string", "enum": [value for choice in choices for value in choice["enum"]]}
    elif len(choices) == 1 and choices[0].get("type") in _PLAIN:
        (plain,) = choices
    else:
        return
    for key in ("anyOf", "default"):
        field.pop(key, None)
    field.update(plain)

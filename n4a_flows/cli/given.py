"""Options of a flow on the command line: `-o NAME=VALUE`, values as YAML has them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from n4a_flows.storage.errors import InvalidInputError

Model = TypeVar("Model", bound=BaseModel)


def options_of(model: type[Model], given: Iterable[str], **known: Any) -> Model:
    """The options of a flow from texts such as `group_column=sample_id`, besides those that are known already.

    Raises
    ------
    InvalidInputError
        When a text is no `NAME=VALUE`, or the model does not take it; the message lists what there is.
    """
    values = dict(known)
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise InvalidInputError(f"{text!r} is no option; write it as NAME=VALUE.")
        try:
            values[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InvalidInputError(f"The value of the option {name.strip()!r} is no YAML: {error}") from error
    try:
        return model(**values)
    except ValidationError as error:
        said = "; ".join(": ".join([*map(str, reason["loc"]), str(reason["msg"])]) for reason in error.errors())
        raise InvalidInputError(
            f"The options cannot be taken: {said}. There are: {', '.join(model.model_fields)}."
        ) from error

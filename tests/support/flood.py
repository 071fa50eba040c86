"""Records in which every text is what a test says: whatever is shown of them has to hold it."""

import dataclasses
import re
from enum import Enum
from typing import Any, TypeVar

from pydantic import BaseModel

ModelT = TypeVar("ModelT")


def flooded(model: ModelT, text: str) -> ModelT:
    """The model, or dataclass, with `text` in each field that is one, at any depth; only digests stay as they are."""
    flooded_model: ModelT = _flooded(model, text)
    return flooded_model


def _flooded(value: Any, text: str) -> Any:  # noqa: ANN401, PLR0911 - of any model's field, one line for each kind
    match value:
        case Enum():
            return value
        case str():
            return value if re.fullmatch(r"[0-9a-f]{40,}", value) else text
        case BaseModel():
            names = type(value).model_fields
            return value.model_copy(update={name: _flooded(getattr(value, name), text) for name in names})
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = dataclasses.fields(value)
            return dataclasses.replace(value, **{one.name: _flooded(getattr(value, one.name), text) for one in fields})
        case list() | tuple():
            return type(value)(_flooded(one, text) for one in value)
        case dict():
            return {_flooded(key, text): _flooded(one, text) for key, one in value.items()}
        case _:
            return value

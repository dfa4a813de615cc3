"""Conversion: what people hand in, step by step as plain JSON; the table is in `values`."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import uuid
from collections import deque
from typing import Any, Final

import msgspec
import numpy as np

from penin.errors import RefusedTypeError

_AS_TEXT: Final = (
    datetime.datetime,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    uuid.UUID,
    decimal.Decimal,
)


def converted(value: object) -> object:
    """A value that is not plain JSON yet, one step nearer to it.

    Raises RefusedTypeError, with an empty field, for what has no place in JSON.
    """
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, np.ndarray):
        return _from_array(value)
    if isinstance(value, np.generic):
        return _from_scalar(value)
    if isinstance(value, _AS_TEXT):
        return msgspec.to_builtins(value)
    if isinstance(value, msgspec.Struct):
        return _from_struct(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    if callable(getattr(value, "model_dump", None)) and not isinstance(value, type):
        return value.model_dump(by_alias=True)  # type: ignore[attr-defined]  # pydantic's name
    for plain in (str, int, float, deque):
        if isinstance(value, plain):
            return _as_base(value, plain)
    raise RefusedTypeError("", f"{type(value).__name__} has no place in JSON")


def _as_base(value: Any, plain: type) -> object:
    """A subclass of a plain type as that type, without asking its own methods."""
    if plain is deque:
        return deque(value, value.maxlen)
    if plain is str:
        return str.__str__(value)
    return int.__int__(value) if plain is int else float.__float__(value)


def _from_struct(value: msgspec.Struct) -> object:
    config = value.__struct_config__
    if config.array_like:
        values: list[Any] = [getattr(value, name) for name in value.__struct_fields__]
        return values if config.tag is None else [config.tag, *values]
    fields = msgspec.structs.fields(value)
    plain: dict[str, Any] = {item.encode_name: getattr(value, item.name) for item in fields}
    if config.tag is not None and config.tag_field is not None:
        plain = {config.tag_field: config.tag, **plain}
    return {name: item for name, item in plain.items() if item is not msgspec.UNSET}


def _from_array(value: np.ndarray[Any, Any]) -> object:
    if value.dtype.kind not in "biufOU":
        raise RefusedTypeError("", f"an array of dtype {value.dtype} has no place in JSON")
    if value.dtype == np.longdouble and np.longdouble != np.float64:
        raise RefusedTypeError("", "a longdouble does not fit a float exactly")
    return value.tolist()


def _from_scalar(value: np.generic) -> object:
    plain = value.item()
    if isinstance(plain, np.generic) or not isinstance(plain, (bool, int, float, str)):
        raise RefusedTypeError("", f"{type(value).__name__} has no place in JSON")
    return plain

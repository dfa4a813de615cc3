"""Names: keys of artifacts, names of histories and documents, and texts about a sender."""

from __future__ import annotations

from typing import Final

from penin.core import values
from penin.errors import RefusedTypeError, RefusedValueError

NAME_BYTES_MAX: Final = 1024
"""How long a key, a name, or a text about the sender (`from`) may be, in UTF-8."""


def check_name(name: object, field: str) -> str:
    """A key or name: a string that is not empty, without lone surrogates, at most 1,024 bytes."""
    plain = check_text(name, field)
    if not plain:
        raise RefusedValueError(field, "empty")
    if plain == values.MARK:
        raise RefusedValueError(field, f"{plain} is reserved")
    return plain


def check_text(text: object, field: str) -> str:
    """A plain string without lone surrogates, at most 1,024 bytes."""
    if not isinstance(text, str):
        raise RefusedTypeError(field, f"{type(text).__name__} is not a string")
    # A subclass as a str, without asking its own methods.
    name = text if type(text) is str else str.__str__(text)
    if len(name) * 4 > NAME_BYTES_MAX or not name.isascii():
        try:
            encoded = name.encode()
        except UnicodeEncodeError as error:
            raise RefusedValueError(field, "a lone surrogate is not a character") from error
        if len(encoded) > NAME_BYTES_MAX:
            raise RefusedValueError(
                field, f"{len(encoded)} bytes are over the limit of {NAME_BYTES_MAX}"
            )
    return name

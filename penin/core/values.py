"""What the memory holds beside vectors, and how it is written as JSON.

A *value* is None, bool, int (up to 4,096 bits), float, str, list, dict with str keys, a
`NumericVectorArtifact`, or a `collections.deque`; tasks, documents, metadata and the items of
histories are values. What people hand in becomes one by this table, and anything else is refused
with its path:

=======================================  ======================================================
handed in                                kept
=======================================  ======================================================
None, bool, str, int, float              the same; subclasses become the plain type
tuple, list, other sequences of numpy    list
numpy scalar, numpy array                int, float or bool; (nested) list
Mapping with str keys                    dict
dataclass, msgspec Struct, pydantic      dict of its fields, under the names that their own
                                         decoders expect
Enum                                     its value, converted
datetime, date, time, timedelta, UUID,   str as `msgspec.to_builtins` writes it, which
Decimal                                  `msgspec.convert` reads back
collections.deque, NumericVectorArtifact the same type, copied
=======================================  ======================================================

JSON has no word for infinities and NaN, so these are written as *tagged values*: `{"__type__":
"float", "value": "-inf"}`. So are, in a snapshot, integers over 64 bits, which many readers spoil:
`{"__type__": "int", "value": "123…"}`; in a journal they are JSON numbers. Deques and artifacts
are tagged as the original format did it, and a dictionary of an original file that bears such a
mark itself is escaped as `{"__type__": "dict", "items": [[key, value], …]}`. A mark that is not
ours stays what it is.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from penin.core.brackets import nesting
from penin.core.conversion import converted
from penin.errors import RefusedError, RefusedTypeError, RefusedValueError

MARK: Final = "__type__"
MARK_BYTES: Final = b'"__type__"'
DEPTH_MAX: Final = 64
"""How deep lists and dictionaries may be nested, the value itself included."""
KEPT_DEPTH_MAX: Final = 256
"""The same for what an original file holds: what the interpreter's stack is sure to bear."""
VALUE_BYTES_MAX: Final = 2**20
"""How long one task, document, history item or metadata object may be as JSON. It is what bounds
how long one call holds the event loop: at this size about 10 ms for plain values, about 100 ms for
several 100,000 empty lists, about twice as long where some parts need the slow way of `take_value`
(anything to convert, tagged values, integers of 1,200 digits and strings that look like one, what
is refused), and about half a second for several 100,000 parts of which each needs it."""
INTEGER_BITS_MAX: Final = 4096
SHOWN_MAX: Final = 100
"""How much of a refused name or value a message shows."""
_UNDERSCORE: Final = ord("_")
_LOOK_DEPTH_MAX: Final = 2
"""So far down a list or dictionary is looked at whole, whether it needs any conversion: to look at
every level of a deep one would take time that grows with its depth."""
_LOOK_ITEMS_MIN: Final = 16
_SURELY_SHALLOW: Final = 2 * DEPTH_MAX  # as many bytes have no room for more brackets
_INTEGER_DIGITS: Final = 1200  # a little fewer than that many bits may have

# Bytes with digits as "0" and all else as blanks: how a long integer is found without a parser.
_DIGITS: Final = bytes(0x30 if chr(byte).isdigit() else 0x20 for byte in range(128)) + b" " * 128
_ENCODE: Final = msgspec.json.Encoder().encode
_DECODE: Final = msgspec.json.Decoder().decode
_INTEGER: Final = re.compile("-?[0-9]+")
_SCALARS: Final = frozenset({str, int, float, bool, type(None)})
_INT64_MIN: Final = -(2**63)
_UINT64_MAX: Final = 2**64 - 1


def _is_64_bits(value: int) -> bool:
    return _INT64_MIN <= value <= _UINT64_MAX


# Of the types that most values are of: when one is plain JSON as it is.
_SIMPLE: Final[dict[type, Callable[[Any], bool]]] = {
    str: str.isascii,
    float: math.isfinite,
    int: _is_64_bits,
}

type_marks: Final[dict[str, Callable[[dict[str, Any]], Any]]] = {}
"""Mark -> function that makes the value from the (already revived) tagged dictionary."""

Tagged = Callable[[Any], dict[str, Any]]
tagged_types: Final[dict[type, Tagged]] = {}
"""Type -> function that gives the tagged dictionary, its contents not converted yet."""


def is_plain(raw: bytes) -> bool:
    """Whether `raw` holds no mark and is surely within all limits.

    False means "look closer", not "refuse": marks and digits may stand inside strings.
    """
    if MARK_BYTES in raw:
        return False
    size = len(raw)
    return size <= _SURELY_SHALLOW or (
        size <= VALUE_BYTES_MAX
        and (raw.count(b"{") + raw.count(b"[") <= DEPTH_MAX or nesting(raw) <= DEPTH_MAX)
        and (size < _INTEGER_DIGITS or not has_long_integer(raw, _INTEGER_DIGITS))
    )


def has_long_integer(raw: bytes, digits: int = 20) -> bool:
    """Whether so many digits stand in a row; 20 may be over 64 bits."""
    return b"0" * digits in raw.translate(_DIGITS)


def shown(value: object) -> str:
    """What a message says of something refused: its repr, short, and without lone surrogates."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001  # an integer of too many digits, or somebody's own repr
        return type(value).__name__
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}…"


def take_value(value: object, field: str) -> bytes:
    """The JSON of a value that somebody hands in, converted by the table.

    `decode_value` makes of it what is kept: a copy that shares nothing with the value.
    Raises RefusedTypeError or RefusedValueError, naming the path below `field`.
    """
    try:
        raw = _ENCODE(value)
        # Most of what is short passes on one `memchr`: every mark has an underscore.
        if _DECODE(raw) == value and (
            (_UNDERSCORE not in raw and len(raw) <= _SURELY_SHALLOW) or is_plain(raw)
        ):
            return raw
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        pass  # the slow way finds the place and the reason, or a conversion
    plain = to_wire(value, field)
    raw = _ENCODE(plain)
    if len(raw) > VALUE_BYTES_MAX:
        raise RefusedValueError(
            field, f"{len(raw)} bytes of JSON are over the limit of {VALUE_BYTES_MAX}"
        )
    if _DECODE(raw) != plain:
        raise RefusedValueError(field, "JSON does not hold it exactly")
    return raw


def take_object(value: object, field: str) -> bytes:
    """The same of what must be a JSON object, as a task and metadata are; else RefusedTypeError."""
    raw = take_value(value, field)
    if type(value) is not dict and not is_object(raw):
        raise RefusedTypeError(field, f"{type(value).__name__} is not a JSON object")
    return raw


def is_object(raw: bytes) -> bool:
    """Whether a value that `take_value` took is a dictionary, and not a tagged value of its own."""
    return raw.startswith(b"{") and not raw.startswith(b'{"__type__":')


def encode_value(value: Any, field: str) -> bytes:
    """The JSON of a value that a file held: without the limits of the door.

    Raises RefusedValueError or RefusedTypeError for what no JSON holds, or nested too deep.
    """
    return _ENCODE(to_wire(value, field, escape=True))


def decode_value(raw: bytes) -> Any:
    """The value that `take_value` or a snapshot wrote; a new copy at every call."""
    plain = _DECODE(raw)
    return from_wire(plain) if MARK_BYTES in raw else plain


# -- to JSON ----------------------------------------------------------------------------------


def to_wire(value: object, field: str, *, escape: bool = False, depth: int = 0) -> Any:
    """Plain JSON types for a value, by the table above, with tags where they are needed.

    At the door (`escape` False) the limits hold and a dictionary with the reserved key `__type__`
    is refused. What a state holds already (True) may come from an original file: only the depth
    is limited, to KEPT_DEPTH_MAX, and such a dictionary is kept, escaped where its mark is ours.
    What is returned may share lists and dictionaries with `value`.
    """
    try:
        return _wire(value, escape, depth)
    except RefusedError as error:
        raise _inside(error, field) from error.__cause__


def _inside(error: RefusedError, place: str) -> RefusedError:
    """The same refusal of something that is at `place`.

    Places are put together on the way out: to have them ready for each item of a value that is
    not refused would take most of the time.
    """
    return type(error)(place + error.field, error.reason)


def _wire(value: object, escape: bool, depth: int) -> Any:  # noqa: FBT001  # a call for each item
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        return _text(value)  # type: ignore[arg-type]
    if kind is float:
        return _float(value)  # type: ignore[arg-type]
    if kind is int:
        return _integer(value, escape=escape)  # type: ignore[arg-type]
    depth_max = KEPT_DEPTH_MAX if escape else DEPTH_MAX
    if depth >= depth_max:
        raise RefusedValueError("", f"nested deeper than {depth_max} levels")
    is_looked_at = 0 < depth <= _LOOK_DEPTH_MAX and not escape
    if is_looked_at and _is_exact(value, DEPTH_MAX - depth):
        return value
    if isinstance(value, Mapping):
        return _object(value, escape, depth)
    if isinstance(value, (list, tuple)):
        return _array(value, escape, depth)
    if kind in tagged_types:
        return _members(tagged_types[kind](value), escape, depth, keep=MARK)
    return _wire(converted(value), escape, depth)


def _is_exact(value: object, levels: int) -> bool:
    """Whether a long list or dictionary, nested so deep at most, needs no conversion.

    It is found out at the speed of the encoder; the items of a short one are as fast one by one.
    """
    if (type(value) is not dict and type(value) is not list) or len(value) < _LOOK_ITEMS_MIN:
        return False
    try:
        raw = _ENCODE(value)
        is_shallow = raw.count(b"{") + raw.count(b"[") <= levels or nesting(raw) <= levels
        return is_shallow and is_plain(raw) and bool(_DECODE(raw) == value)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        return False


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise RefusedValueError(
            "", "a lone surrogate is not a character; JSON cannot hold it"
        ) from error
    return value if type(value) is str else str.__str__(value)


def _float(value: float) -> float | dict[str, str]:
    return value if math.isfinite(value) else {MARK: "float", "value": repr(value)}


def _integer(value: int, *, escape: bool) -> int | dict[str, str]:
    if _INT64_MIN <= value <= _UINT64_MAX:
        return value
    if escape:
        return {MARK: "int", "value": str(value)}
    if value.bit_length() > INTEGER_BITS_MAX:
        raise RefusedValueError(
            "", f"an integer of {value.bit_length()} bits is over {INTEGER_BITS_MAX}"
        )
    return value


def _object(value: Mapping[Any, object], escape: bool, depth: int) -> dict[str, Any]:  # noqa: FBT001
    plain = _members(value, escape, depth)
    if MARK not in plain:
        return plain
    if not escape:
        raise RefusedValueError(f".{MARK}", "this key is reserved")
    mark = plain[MARK]
    if isinstance(mark, str) and mark in type_marks:
        return {MARK: "dict", "items": [[name, item] for name, item in plain.items()]}
    return plain


def _members(
    value: Mapping[Any, object],
    escape: bool,  # noqa: FBT001
    depth: int,
    keep: str | None = None,
) -> dict[str, Any]:
    """The members of an object, but that of the name `keep`, which stays as it is."""
    plain: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise RefusedTypeError("", f"the key {shown(key)} is not a string")
        name = key if type(key) is str and key.isascii() else _text(key)
        is_simple = _SIMPLE.get(type(item))
        if (is_simple is not None and is_simple(item)) or name == keep:
            plain[name] = item
            continue
        try:
            plain[name] = _wire(item, escape, depth + 1)
        except RefusedError as error:
            raise _inside(error, f".{name}") from error.__cause__
    return plain


def _array(value: list[Any] | tuple[Any, ...], escape: bool, depth: int) -> list[Any]:  # noqa: FBT001
    plain: list[Any] = []
    for index, item in enumerate(value):
        is_simple = _SIMPLE.get(type(item))
        if is_simple is not None and is_simple(item):
            plain.append(item)
            continue
        try:
            plain.append(_wire(item, escape, depth + 1))
        except RefusedError as error:
            raise _inside(error, f"[{index}]") from error.__cause__
    return plain


# -- from JSON --------------------------------------------------------------------------------


def from_wire(plain: Any, levels: int | None = None) -> Any:
    """The value behind plain JSON types: the reverse of `to_wire`.

    Total for what `to_wire` makes. Raises RefusedValueError for a tag that is malformed and,
    with `levels`, for what is nested deeper than that. What is returned may share lists and
    dictionaries with `plain`.
    """
    if not isinstance(plain, (list, dict)):
        return plain
    if levels is not None:
        if levels == 0:
            raise RefusedValueError("value", f"nested deeper than {DEPTH_MAX} levels")
        levels -= 1
    if isinstance(plain, list):
        if _SCALARS.issuperset(map(type, plain)):
            return plain
        return [from_wire(item, levels) for item in plain]
    if MARK not in plain and _SCALARS.issuperset(map(type, plain.values())):
        return plain  # most tasks and metadata, at the speed of the set
    if plain.get(MARK) == "dict":  # what is inside may look like a mark and is none
        return {name: from_wire(item, levels) for name, item in revive_tagged(plain).items()}
    return revive_tagged({name: from_wire(item, levels) for name, item in plain.items()})


def revive_tagged(tagged: dict[str, Any]) -> Any:
    """The value of one tagged dictionary whose inside is revived; others are returned as they are.

    Raises RefusedValueError or RefusedTypeError for one that is malformed.
    """
    mark = tagged.get(MARK)
    make = type_marks.get(mark) if isinstance(mark, str) else None
    if make is None:
        return tagged
    try:
        return make(tagged)
    except RefusedError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise RefusedValueError(MARK, f"a malformed {mark}: {shown(error)}") from error


def _make_float(tagged: dict[str, Any]) -> float:
    value = float(tagged["value"])
    if math.isfinite(value):
        msg = "a finite float needs no tag"
        raise ValueError(msg)
    return value


def _make_integer(tagged: dict[str, Any]) -> int:
    digits = tagged["value"]
    if not isinstance(digits, str) or _INTEGER.fullmatch(digits) is None:
        msg = "not a string of digits"
        raise ValueError(msg)
    return int(digits)


def make_deque(tagged: dict[str, Any]) -> deque[Any]:
    """A deque from its tagged dictionary; raises KeyError or TypeError where it is malformed."""
    return deque(tagged["items"], tagged.get("maxlen"))


def tagged_deque(value: deque[Any]) -> dict[str, Any]:
    """The tagged dictionary of a deque, as the original format has it."""
    return {MARK: "deque", "items": list(value), "maxlen": value.maxlen}


def _make_dict(tagged: dict[str, Any]) -> dict[str, Any]:
    members = dict(tagged["items"])
    if not all(isinstance(name, str) for name in members):
        msg = "a key that is not a string"
        raise TypeError(msg)
    return members


type_marks.update(float=_make_float, int=_make_integer, deque=make_deque, dict=_make_dict)
tagged_types[deque] = tagged_deque

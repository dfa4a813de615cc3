"""Which format a table has."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Final

from penin.errors import UsageError
from penin.ingress.tables.arrays import open_npy, open_npz, open_safetensors
from penin.ingress.tables.lines import LineTable
from penin.ingress.tables.table import Table
from penin.ingress.tables.texts import JSON_LINES_SUFFIX

NPY: Final = ".npy"
NPZ: Final = ".npz"
SAFETENSORS: Final = ".safetensors"
PARQUET: Final = ".parquet"
SUFFIXES: Final = (NPY, NPZ, SAFETENSORS, JSON_LINES_SUFFIX, PARQUET)
_WITH_FILES_BESIDE: Final = {
    NPY: open_npy,
    NPZ: open_npz,
    SAFETENSORS: open_safetensors,
}


def suffix_of(path: Path) -> str:
    """The suffix of a table. Raises UsageError for one that is not known."""
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path}: its suffix is none of {', '.join(SUFFIXES)}")
    return path.suffix


def open_table(path: Path, keys: Path | None = None, metadata: Path | None = None) -> Table:
    """The table in a file, with its keys and metadata in files beside it, if any.

    What can be told without reading all of it is checked. Raises UsageError for a format that is
    not known, without its extra, or with files beside it that it does not have; TableError for
    what is no table; OSError.
    """
    suffix = suffix_of(path)
    if suffix in _WITH_FILES_BESIDE:
        return _WITH_FILES_BESIDE[suffix](path, keys, metadata)
    if keys is not None or metadata is not None:
        raise UsageError(f"{path}: keys and metadata stand in it, and in no file beside it")
    if suffix == JSON_LINES_SUFFIX:
        path.open("rb").close()  # an OSError here, and not at the first row
        return LineTable(path)
    table: Table = parquet_module(path).ParquetTable(path)
    return table


def parquet_module(path: Path) -> ModuleType:
    """`penin.ingress.tables.parquet`, imported. Raises UsageError without pyarrow."""
    try:
        from penin.ingress.tables import parquet  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise UsageError(
            f"{path}: Parquet needs pyarrow, which is not installed: pip install 'penin[parquet]'"
        ) from error
    return parquet

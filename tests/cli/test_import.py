"""`penin import`: a file of rows into a store."""

from __future__ import annotations

import signal
import subprocess
import sys

import numpy as np
import pytest

import penin
from penin.cli import main
from penin.cli.exits import ExitCode
from tests.cli.processes import PATIENCE_S, REPOSITORY, on_a_terminal
from tests.cli.processes import penin as run_penin

pytestmark = pytest.mark.sliced  # each is a process or several

STORE = ".penin_omega"


def make(place, rows=3, dimension=2):
    """`v.npy`, `k.txt` and `m.jsonl`."""
    matrix = np.arange(rows * dimension, dtype="float32").reshape(rows, dimension)
    np.save(place / "v.npy", matrix)
    (place / "k.txt").write_text("".join(f"k{row}\n" for row in range(rows)))
    (place / "m.jsonl").write_text("".join(f'{{"row": {row}}}\n' for row in range(rows)))
    return matrix


ALL = ("v.npy", "--keys", "k.txt", "--metadata", "m.jsonl")


def test_a_matrix_is_stored_with_its_keys_and_metadata(place):
    matrix = make(place)
    process = run_penin(place, "import", *ALL)
    assert process.code == ExitCode.SUCCESS
    assert process.err == [f"penin: 3 rows stored in {place / STORE} (up to seq 2)"]
    store = penin.load(place / STORE)
    assert list(store.knowledge_base) == ["k0", "k1", "k2"]
    assert np.array_equal(store.knowledge_base["k1"].array, matrix[1])
    assert store.knowledge_base["k1"].metadata == {"row": 1}
    assert not store.documents


def test_a_bad_row_is_named_by_file_and_row(place):
    matrix = make(place)
    matrix[2, 1] = np.nan
    np.save(place / "v.npy", matrix)
    process = run_penin(place, "import", *ALL)
    assert process.code == ExitCode.REFUSED_INPUT
    assert process.err == [
        f"penin: 0 rows stored in {place / STORE}",
        "penin: v.npy: row 2: vector[1]: nan is not finite",
    ]


def test_a_key_that_stands_twice_is_found_before_there_is_a_store(place):
    make(place)
    (place / "k.txt").write_text("a\nb\na\n")
    process = run_penin(place, "import", *ALL)
    assert process.code == ExitCode.REFUSED_INPUT
    assert process.err == ["penin: k.txt: line 3: key: 'a' stands in line 1 already"]
    assert not (place / STORE).exists()


def test_mistakes_of_usage_have_one_sentence(place, monkeypatch, capfd):
    make(place)
    monkeypatch.chdir(place)
    for words, said in [
        (["v.npy"], "v.npy: a .npy file has no keys: --keys names a file of them"),
        (["nowhere.npz"], "nowhere.npz: No such file or directory"),
        (["v.npy", "--keys", "nowhere.txt"], "nowhere.txt: No such file or directory"),
        (["k.txt"], "k.txt: its suffix is none of .npy, .npz, .safetensors, .jsonl, .parquet"),
    ]:
        assert main(["import", *words]) == ExitCode.USAGE
        assert capfd.readouterr().err == f"penin: {said}\n"
    assert not (place / STORE).exists()


def import_until_signal(place, number, blocks):
    """Run `penin import` in blocks of ten rows, and send it a signal itself in block `blocks`."""
    code = f"""
import os, sys
from penin.cli import main
from penin.ingress.tables import source, table

table.BLOCK_ROWS_MAX = 10
send = source.TableSource._send

async def counted(self, orchestrator, rows, document):
    if rows.first == 10 * {blocks}:
        os.kill(os.getpid(), {int(number)})
    await send(self, orchestrator, rows, document)

source.TableSource._send = counted
sys.exit(main(["import", *{ALL!r}]))
"""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=place,
        env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_killed_it_goes_on_where_it_was_durable(place):
    matrix = make(place, 95)
    killed = import_until_signal(place, signal.SIGKILL, 3)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (progress,) = penin.load(place / STORE).documents.values()
    assert progress == {"file": "v.npy", "position": 30}
    process = run_penin(place, "import", *ALL)
    assert process.code == ExitCode.SUCCESS
    assert process.err == [
        "penin: v.npy: goes on at row 30; what is before it is stored",
        f"penin: 65 rows stored in {place / STORE} (up to seq 8)",
    ]
    store = penin.load(place / STORE)
    assert [artifact.vector for artifact in store.knowledge_base.values()] == matrix.tolist()
    assert not store.documents


def test_a_signal_ends_it_after_the_block_that_is_under_way(place):
    make(place, 95)
    ended = import_until_signal(place, signal.SIGINT, 3)
    assert ended.returncode == 128 + signal.SIGINT, ended.stderr
    (progress,) = penin.load(place / STORE).documents.values()
    rows = progress["position"]
    assert rows in range(30, 95)
    assert len(penin.load(place / STORE).knowledge_base) == rows
    assert f"{rows} rows stored" in ended.stderr
    process = run_penin(place, "import", *ALL, "--restart")
    assert (process.code, len(process.err)) == (ExitCode.SUCCESS, 1)
    assert "95 rows stored" in process.err[0]


def test_a_terminal_gets_a_progress_bar(place):
    make(place, 5000)
    code, shown = on_a_terminal(place, "import", *ALL)
    assert code == ExitCode.SUCCESS
    assert "checking" in shown
    assert "importing" in shown
    assert "of 5,000 rows" in shown
    assert "5,000 rows stored" in shown

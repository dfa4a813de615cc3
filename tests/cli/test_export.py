"""`penin export`: the knowledge base of a store as a file."""

from __future__ import annotations

import os

import numpy as np
import pytest

import penin
from penin.cli import main
from penin.cli.exits import ExitCode
from penin.core import NumericVectorArtifact
from tests.cli.processes import penin as run_penin
from tests.core.strategies import exactly_equal
from tests.ingress.tables.samples import base

pytestmark = pytest.mark.sliced  # each is a process or several

STORE = ".penin_omega"


@pytest.fixture
def export(place, monkeypatch, capfd):
    """Calls `penin export` in `place`; gives the exit code and what it said."""
    monkeypatch.chdir(place)

    def call(*words):
        code = main(["export", *words])
        return code, capfd.readouterr().err.removesuffix("\n")

    return call


def fill(place, artifacts):
    with penin.open_sync(place / STORE) as orchestrator:
        for key, artifact in artifacts.items():
            orchestrator.add_knowledge(key, artifact)


def test_what_is_exported_is_imported_into_an_equal_store(place):
    fill(place, base(5))
    beside = ["--keys", "k.txt", "--metadata", "m.jsonl"]
    out = run_penin(place, "export", "out/rows.npy", *beside)
    assert (out.code, out.err) == (0, ["penin: 5 artifacts written to out/rows.npy"])
    back = run_penin(place, "import", "out/rows.npy", *beside, "--dir", "other")
    assert back.code == ExitCode.SUCCESS
    assert exactly_equal(
        penin.load(place / "other").knowledge_base, penin.load(place / STORE).knowledge_base
    )


def test_a_store_that_is_open_is_exported_as_it_is_on_the_disk(place, export):
    with penin.open_sync(place / STORE) as orchestrator:
        orchestrator.add_knowledge("a", NumericVectorArtifact([1.5]))
        assert export("rows.jsonl") == (0, "penin: 1 artifact written to rows.jsonl")
    text = (place / "rows.jsonl").read_text()
    assert text == '{"key":"a","dtype":"float64","vector":[1.5]}\n'


def test_files_that_are_there_are_replaced_only_when_asked(place, export):
    fill(place, base(2, with_metadata=False))
    (place / "k.txt").write_text("mine")
    words = ["v.npy", "--keys", "k.txt"]
    said = "penin: k.txt: it is there already; --overwrite replaces it"
    assert export(*words) == (ExitCode.USAGE, said)
    assert not (place / "v.npy").exists()
    assert export(*words, "--overwrite") == (0, "penin: 2 artifacts written to v.npy")
    assert (place / "k.txt").read_text() == "k0\nk1\n"
    assert np.load(place / "v.npy").shape == (2, 3)


def test_metadata_that_is_left_out_is_said(place, export):
    fill(place, base(2))
    code, said = export("v.npy", "--keys", "k.txt")
    assert code == ExitCode.SUCCESS
    assert "2 artifacts written to v.npy, without 2 metadata objects: --metadata names" in said


def test_a_mixture_needs_a_choice(place, export):
    fill(place, base(2) | {"other": NumericVectorArtifact([1, 2, 3, 4])})
    code, said = export("v.npz")
    assert code == ExitCode.USAGE
    assert "2 float32 of dimension 3, 1 int64 of dimension 4" in said
    assert export("v.npz", "--dtype", "int64", "--dimension", "4")[0] == ExitCode.SUCCESS
    assert np.load(place / "v.npz")["keys"].tolist() == ["other"]


def test_mistakes_of_usage_have_one_sentence(place, export):
    fill(place, base(1))
    (place / "made.npz").mkdir()
    os.mkfifo(place / "pipe.npz")
    for words, said in [
        (["v.csv"], "v.csv: its suffix is none of"),
        (["v.npy"], "v.npy: a .npy file has no keys: --keys names a file for them"),
        (["v.npz", "--keys", "k.txt"], "v.npz: keys and metadata stand in it"),
        (["v.npy", "--keys", "v.npy"], "v.npy: keys, metadata and vectors are files of their own"),
        (["made.npz"], "made.npz: it is a directory"),
        (["pipe.npz", "--overwrite"], "pipe.npz: it is not a regular file"),
        (["v.npz", "--dir", "nowhere"], "--dir nowhere: there is no store"),
    ]:
        code, sentence = export(*words)
        assert code == ExitCode.USAGE
        assert sentence.startswith(f"penin: {said}")

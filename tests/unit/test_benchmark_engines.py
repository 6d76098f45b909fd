"""The benchmark `engines`, in miniature, on a real server."""

import json

import pytest
from benchmarks.store import engines, searching


@pytest.mark.slow
def test_both_engines_and_a_plain_table_are_measured(tmp_path, monkeypatch, capsys):
    for module, name, value in (
        (searching, "QUERIES", 3),
        (searching, "REPEATS", 1),
        (searching, "WARM", 1),
        (engines, "SINGLE", 2),
    ):
        monkeypatch.setattr(module, name, value)
    assert engines.main(json_path=tmp_path / "f.json", sizes=(60,)) == 0
    figures = json.loads((tmp_path / "f.json").read_text())
    found = {(each["case"], each["metric"]) for each in figures["results"]}
    for case in ("directory, 60 records", "server, 60 records"):
        for metric in ("one add", "bulk add without embedding", "open and search, with its index"):
            assert (case, metric) in found
        for way in ("memkit", "memkit, words too"):
            for metric in ("search p95", "filtered search p95", "search recall@10"):
                assert (f"{case}, {way}", metric) in found
    assert ("pgvector, 62 records", "search p95") in found
    assert "one_add_60" in capsys.readouterr().out
    exact = [
        each["value"]
        for each in figures["results"]
        if each["case"].endswith("records, memkit") and each["metric"] == "search recall@10"
    ]
    assert exact == [1.0, 1.0]  # both compare all vectors

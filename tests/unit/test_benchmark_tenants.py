"""The benchmark `tenants`, in miniature, on a real server."""

import json

import pytest
from benchmarks.store import tenants


@pytest.mark.slow
def test_tenants_find_their_own_on_both_engines(tmp_path, monkeypatch, capsys):
    for name, value in (("RECORDS", 12), ("ASKED", 3), ("REPEATS", 1), ("SINGLE", 2)):
        monkeypatch.setattr(tenants, name, value)
    assert tenants.main(json_path=tmp_path / "f.json", tenants=(4,)) == 0
    figures = json.loads((tmp_path / "f.json").read_text())
    values = {(each["case"], each["metric"]): each["value"] for each in figures["results"]}
    for case in ("directory, 4 tenants", "server, 4 tenants"):
        assert values[case, "recall@10 by vector"] == 1.0  # all vectors of a tenant are compared
        for metric in ("one add", "search by vector p95", "search with words p50", "open"):
            assert values[case, metric] > 0
    assert "resident by opening and one search" in capsys.readouterr().out

"""Small versions of the durability checks of the benchmark `store`; all counts must hold."""

from benchmarks.store import durability


def test_killed_writers_lose_nothing_that_was_acknowledged(tmp_path):
    counts = durability.kill(tmp_path / "m", 3)
    assert counts["reopened intact"] == 3
    assert counts["acknowledged records"] > 0
    assert counts["acknowledged records lost"] == 0


def test_two_processes_keep_all_they_add(tmp_path):
    assert durability.add_together(tmp_path / "m") == {"kept": durability.WRITERS * durability.ADDS}


def test_four_processes_agree_with_what_they_wrote(tmp_path):
    counts = durability.mix(tmp_path / "m", 25)
    assert counts["records at the end"] > 0
    assert (counts["lost"], counts["wrong"], counts["refused"]) == (0, 0, 0)

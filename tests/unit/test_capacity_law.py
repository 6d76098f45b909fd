"""Which law holds: what was measured here, what ships, or half of it."""

import json
import logging

import pytest

from memkit.errors import CorruptFileError
from memkit.lora.consolidation import capacity as laws
from memkit.lora.consolidation.capacity import (
    DEFAULT,
    DEFAULT_NAME,
    Point,
    add_points,
    fit,
    law_for,
    load_points,
    points_file,
)

POINTS = [Point(1, 48, 300, 72, 70, 1.0, 0.9, 12.5), Point(4, 48, 300, 72, 60, 1.0, 0.8, 13.5)]


class Base:
    def __init__(self, name, fingerprint="f" * 64):
        self.name = name
        self.fingerprint = fingerprint


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEMKIT_CACHE", str(tmp_path))
    laws._log_unknown.cache_clear()
    return tmp_path


def test_what_was_measured_on_this_machine_comes_first():
    add_points(points_file("a" * 64), POINTS)

    assert law_for(Base(DEFAULT_NAME, "a" * 64)) == fit(POINTS)
    assert law_for(Base(DEFAULT_NAME, "b" * 64)) == DEFAULT


def test_unknown_models_get_half_and_are_named_once(caplog):
    with caplog.at_level(logging.INFO, logger="memkit"):
        law = law_for(Base("strange"))
        law_for(Base("strange"))

    assert law.room(8) == pytest.approx(DEFAULT.room(8) / 2, abs=1)
    assert caplog.text.count("capacity of adapters on 'strange' was never measured") == 1


def test_points_come_back_and_nothing_else_is_left(cache):
    path = points_file("a" * 64)
    add_points(path, POINTS[:1])
    add_points(path, POINTS)

    assert load_points(path) == POINTS
    assert list((cache / "capacity").iterdir()) == [path]


def test_no_file_no_points(cache):
    assert load_points(cache / "nothing.json") == []


@pytest.mark.parametrize("text", ["", "[]", '{"points": [{"rank": 1}]}', '{"points": 3}', "{}"])
def test_a_damaged_file_is_named(cache, text):
    path = cache / "damaged.json"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(CorruptFileError, match=r"expected measured capacities in .*damaged\.json"):
        load_points(path)


def test_the_file_is_plain_json():
    add_points(points_file("a" * 64), POINTS)

    document = json.loads(points_file("a" * 64).read_text(encoding="utf-8"))
    assert document["points"][0]["tokens"] == 300

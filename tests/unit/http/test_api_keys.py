"""Key files: what they grant, and what is refused."""

import hashlib
import os
import stat
import tomllib
from concurrent.futures import ThreadPoolExecutor

import pytest

from memkit.errors import InvalidInputError, StorageError
from memkit.server.http.api_keys import ApiKey, KeyFile, add_key, digest, local_key, parse

HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"  # of "test"
ANN = f'[[keys]]\nname = "ann"\nsha256 = "{HASH}"\nscope = {{ user = "ann" }}\n'


def entry(name="ann", sha256=HASH, scope='{ user = "ann" }', more=""):
    return f'[[keys]]\nname = "{name}"\nsha256 = "{sha256}"\nscope = {scope}\n{more}\n'


def test_a_key_is_known_by_its_hash():
    assert digest("test") == HASH
    assert parse(ANN, "keys.toml") == {
        HASH: ApiKey("ann", {"user": "ann"}, frozenset({"read", "write"}))
    }


def test_a_new_key_is_long_and_stored_as_its_hash_alone(tmp_path):
    path = tmp_path / "keys.toml"
    keys = [add_key(path, name, {"user": name}) for name in ("ann", "ben")]

    assert all(len(key) == 46 and key.startswith("mk-") for key in keys)
    assert keys[0] != keys[1]
    text = path.read_text()
    assert not any(key in text for key in keys)
    stored = [key["sha256"] for key in tomllib.loads(text)["keys"]]
    assert stored == [hashlib.sha256(key.encode()).hexdigest() for key in keys]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [KeyFile(path).find(key).name for key in keys] == ["ann", "ben"]
    assert KeyFile(path).find("mk-other") is None
    assert KeyFile(path).find("\udcff") is None


def test_what_a_person_has_written_stays(tmp_path):
    path = tmp_path / "keys.toml"
    path.write_text(f"# Ours.\n{ANN}# The end.")
    path.chmod(0o600)
    add_key(path, "ben", {"user": "ben"})

    assert path.read_text().startswith(f"# Ours.\n{ANN}# The end.\n\n[[keys]]\n")


@pytest.mark.parametrize("value", ['"x"\\', "\x7f\t\n", "Zoë\U0001f600", "]]\n[[keys]]"])
def test_scopes_of_any_characters_come_back(tmp_path, value):
    path = tmp_path / "keys.toml"
    key = add_key(path, "odd", {"user": value, value: "x"}, ["consolidate"])

    assert KeyFile(path).find(key) == ApiKey(
        "odd", {"user": value, value: "x"}, frozenset({"consolidate"})
    )


def test_keys_that_are_made_at_once_are_all_kept(tmp_path):
    path = tmp_path / "keys.toml"
    with ThreadPoolExecutor(4) as threads:
        keys = list(threads.map(lambda n: add_key(path, f"k{n}", {"user": f"{n}"}), range(12)))

    assert {KeyFile(path).find(key).name for key in keys} == {f"k{n}" for n in range(12)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no keys"),
        ("[[keys]", "is no TOML"),
        ("keys = 5", r"nothing but \[\[keys\]\]"),
        (f"{ANN}[others]\n", r"nothing but \[\[keys\]\]"),
        ("keys = [5]", "key 1 of"),
        (entry(name="a b"), "`name` must be"),
        (entry(name=""), "`name` must be"),
        (entry(sha256="test"), "`sha256` must be"),
        (entry(sha256=HASH.upper()), "`sha256` must be"),
        (entry(scope='"ann"'), "`scope` must be a mapping"),
        (entry(scope="{ user = 1 }"), "non-empty strings"),
        ('[[keys]]\nname = "ann"\n', r"expected also \['scope', 'sha256'\]"),
        (entry(more="admin = true"), "expected some of"),
        (entry(more="rights = []"), "`rights` must be some of"),
        (entry(more='rights = ["root"]'), "`rights` must be some of"),
        (entry(more='rights = "read"'), "`rights` must be some of"),
        (ANN + entry(sha256="0" * 64, scope='{ user = "ben" }'), "key 2 .* same `name` as another"),
        (ANN + entry(name="ben", scope='{ user = "ben" }'), "key 2 .* same `sha256` as 'ann'"),
    ],
)
def test_what_is_malformed_is_refused(tmp_path, text, message):
    path = tmp_path / "keys.toml"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(InvalidInputError, match=message):
        KeyFile(path)


def test_a_scope_that_is_part_of_anothers_is_refused(tmp_path):
    path = tmp_path / "keys.toml"
    add_key(path, "team", {"team": "x"})
    before = path.read_bytes()
    with pytest.raises(InvalidInputError, match="scope of 'team' is a part of that of 'ann'"):
        add_key(path, "ann", {"team": "x", "user": "ann"})
    assert path.read_bytes() == before
    add_key(path, "again", {"team": "x"})  # a second key of the same scope
    add_key(path, "everybody", {})
    assert len(KeyFile(path)) == 3


@pytest.mark.parametrize("mode", [0o622, 0o620, 0o606])
def test_a_file_that_others_can_write_to_is_refused(tmp_path, mode):
    path = tmp_path / "keys.toml"
    path.write_text(ANN)
    path.chmod(mode)
    with pytest.raises(InvalidInputError, match="only its owner can write"):
        KeyFile(path)


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    path = tmp_path / "keys.toml"
    with pytest.raises(StorageError, match="there is no key file") as raised:
        KeyFile(path)
    assert f"--keys {path} --new-key NAME" in raised.value.hint


def test_a_name_that_is_taken_is_refused(tmp_path):
    path = tmp_path / "keys.toml"
    add_key(path, "ann", {"user": "ann"})
    before = path.read_bytes()
    with pytest.raises(InvalidInputError, match="has a key named 'ann' already") as raised:
        add_key(path, "ann", {"user": "other"})
    assert "another name" in raised.value.hint
    assert path.read_bytes() == before


def test_a_file_that_changes_is_read_again(tmp_path):
    path = tmp_path / "keys.toml"
    ann, ben = (add_key(path, name, {"user": name}) for name in ("ann", "ben"))
    file = KeyFile(path)
    assert file.find(ann).name == "ann"

    text = path.read_text()
    path.write_text(text[text.index("[[keys]]", 1) :])
    assert file.find(ann) is None
    assert file.find(ben).name == "ben"

    path.write_text("nothing")
    with pytest.raises(InvalidInputError, match="is no TOML"):
        file.find(ben)
    path.unlink()
    with pytest.raises(StorageError):
        file.find(ben)


def test_a_change_within_the_same_size_is_noticed(tmp_path):
    path = tmp_path / "keys.toml"
    key = add_key(path, "ann", {"user": "ann"})
    file = KeyFile(path)
    path.write_text(path.read_text().replace(digest(key), "0" * 64))
    os.utime(path, ns=(0, 1))
    assert file.find(key) is None


def test_whoever_is_local_may_do_everything_in_one_scope():
    key = local_key({"user": "ann"})

    assert (key.name, key.scope) == ("local", {"user": "ann"})
    assert key.rights == {"read", "write", "consolidate"}
    with pytest.raises(InvalidInputError):
        local_key({"user": 5})

"""Drafts are moved into place, and nobody's leftovers stay; what is made is its owner's alone."""

import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from memkit.cli import main as cli
from memkit.errors import UnsafePathError
from memkit.files import file_draft, folder_draft, make_folder, new_file, own_file, replace_file
from memkit.memory.check import check

# Stops within a block that writes a draft: until a line comes, or for good.
WRITE = """
import os, signal, sys
from pathlib import Path
from memkit.files import file_draft, folder_draft
draft = {"file": file_draft, "folder": folder_draft}[sys.argv[1]]
with draft(Path(sys.argv[2])) as place:
    (place if sys.argv[1] == "file" else place / "text").write_text("secret")
    print("begun", flush=True)
    sys.stdin.readline()
"""

EXPORT = """
import os, signal, sys
from pathlib import Path
from memkit import Memory
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
with Memory.open(sys.argv[1], backends=("buffer",), count_tokens=len) as memory:
    memory.add("The safe opens with 4471.")
    Path.replace = die
    memory.export(sys.argv[2])
"""


def writing(kind, path):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE, kind, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "begun\n"
    return process


def end(process):
    process.communicate()
    process.wait()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_process_was_writing_is_removed_by_the_next_one(tmp_path, kind):
    killed = writing(kind, tmp_path / "one")
    alive = writing(kind, tmp_path / "two")
    killed.send_signal(signal.SIGKILL)
    end(killed)
    assert len(list(tmp_path.iterdir())) == 2
    with file_draft(tmp_path / "three") as draft:
        assert {path.name.split(".")[1] for path in tmp_path.iterdir()} == {"two", "three"}
        draft.replace(tmp_path / "three")
    end(alive)
    assert [path.name for path in tmp_path.iterdir()] == ["three"]


@pytest.mark.parametrize("draft", [file_draft, folder_draft])
def test_a_draft_that_fails_leaves_nothing(tmp_path, draft):
    with pytest.raises(ZeroDivisionError), draft(tmp_path / "x"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_only_drafts_are_taken_for_drafts(tmp_path):
    names = [".x.tmp", ".x.memkit-0123.tmp", "x.memkit-0123456789ab.tmp", ".x.memkit-0123456789ab"]
    for name in names:
        (tmp_path / name).write_text("mine")
    (tmp_path / "target").write_text("mine")
    (tmp_path / ".link.memkit-0123456789ab.tmp").symlink_to(tmp_path / "target")
    before = {path.name for path in tmp_path.iterdir()}
    with file_draft(tmp_path / "y"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.slow
def test_a_killed_export_leaves_nothing_once_another_was_written(tmp_path, open_memory):
    target = tmp_path / "out" / "memory.zst"
    target.parent.mkdir()
    arguments = [str(tmp_path / "m"), str(target)]
    killed = subprocess.run([sys.executable, "-c", EXPORT, *arguments], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(target.parent.iterdir())) == 1
    memory = open_memory(tmp_path / "m", backends=("buffer",))
    memory.forget_all()
    memory.export(target.with_name("another.zst"))
    assert [path.name for path in target.parent.iterdir()] == ["another.zst"]


# -- rights


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.slow
def test_what_a_memory_makes_is_for_its_owner_alone(
    tmp_path, umask, trained_directory, open_memory, badges
):
    memory = open_memory(tmp_path / "deep" / "agent.mem")
    memory.add(badges[:4])
    memory.consolidate()
    memory.forget(badges[0].id, retrain=False)
    memory.export(tmp_path / "memory.zst", adapters=True)
    inside = list((tmp_path / "deep" / "agent.mem").rglob("*"))
    assert {path.name for path in inside} >= {
        "ledger.sqlite3", "ledger.sqlite3-wal", "ledger.sqlite3-shm", "adapters", "index",
        "adapters.lock", "dense.lock",
    }  # fmt: skip
    memory.close()
    made = [tmp_path / "deep", tmp_path / "deep" / "agent.mem", tmp_path / "memory.zst", *inside]
    made += [*(tmp_path / "deep" / "agent.mem").rglob("*")]
    for path in made:
        if path.exists():
            assert mode(path) == (0o700 if path.is_dir() else 0o600), path


def test_an_exported_adapter_is_for_its_owner_alone(
    tmp_path, umask, trained_directory, open_memory
):
    memory = open_memory(shutil.copytree(trained_directory, tmp_path / "m"))
    folder = memory.modules.export("m0001", tmp_path / "adapter")
    memory.export(tmp_path / "memory.zst", adapters=True)
    for path in (folder, tmp_path / "memory.zst.adapters"):
        for entry in (path, *path.rglob("*")):
            assert mode(entry) == (0o700 if entry.is_dir() else 0o600), entry


def test_a_memory_with_other_rights_stays_usable(tmp_path, open_memory):
    open_memory(tmp_path / "m", backends=("rag",)).close()
    for path in (tmp_path / "m", *(tmp_path / "m").rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    with open_memory(tmp_path / "m", backends=("rag",)) as memory:
        memory.add("The archive is on the second floor.")
    assert mode(tmp_path / "m") == 0o755  # the user's own choice
    assert check(tmp_path / "m").sound


# -- plain files


def test_only_plain_files_with_one_name_are_written_to(tmp_path):
    plain = tmp_path / "plain"
    new_file(plain).close()
    assert own_file(plain) == plain
    assert own_file(tmp_path / "nothing") == tmp_path / "nothing"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnsafePathError, match=r"expected a plain file at .*pipe', found a device"):
        own_file(tmp_path / "pipe")
    (tmp_path / "other").hardlink_to(plain)
    with pytest.raises(UnsafePathError, match="it has 2 names"):
        own_file(plain)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(UnsafePathError, match=r"expected a folder at .*link', found a symbolic"):
        make_folder(tmp_path / "link")


def test_a_file_is_replaced_whatever_has_the_name_of_its_draft(tmp_path):
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "file.tmp").symlink_to(tmp_path / "victim")
    replace_file(tmp_path / "file", [b"new"])
    assert (tmp_path / "file").read_bytes() == b"new"
    assert (tmp_path / "victim").read_text() == "mine"
    assert not (tmp_path / "file.tmp").is_symlink()


def test_a_draft_that_is_moved_while_another_is_made_disturbs_nobody(tmp_path, monkeypatch):
    draft = tmp_path / ".x.memkit-0123456789ab.tmp"
    draft.write_text("of another process")
    whole = Path.iterdir

    def listed(folder):
        paths = list(whole(folder))
        draft.unlink(missing_ok=True)  # it is moved to its place right now
        return iter(paths)

    monkeypatch.setattr(Path, "iterdir", listed)
    with file_draft(tmp_path / "y") as place:
        assert place.exists()


# -- folders in the place of files


@pytest.mark.parametrize("name", ["keys.toml", "keys.toml.tmp"])
def test_a_folder_in_the_place_of_a_file_is_named_and_stays(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "mine").write_text("mine")
    with pytest.raises(UnsafePathError, match=rf"expected a plain file at '.*{name}', found a fol"):
        replace_file(tmp_path / "keys.toml", [b"text"])
    assert (tmp_path / name / "mine").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {name}


@pytest.mark.parametrize("name", ["clusters.head.tmp", f"{'ab' * 8}.lists", f"{'ab' * 16}.lists"])
def test_a_folder_of_somebody_elses_in_the_index_is_left_alone(tmp_path, open_memory, name):
    """Forgetting destroys files of such names, planted or not; a folder is none of memkit's."""
    with open_memory(tmp_path / "m", backends=("rag",), count_tokens=len) as memory:
        memory.add("The badge of Nora is 4471.", id="nora")
    (tmp_path / "m" / "index" / name).mkdir()
    (tmp_path / "m" / "index" / name / "mine").write_text("mine")
    with open_memory(tmp_path / "m", backends=("rag",), count_tokens=len) as memory:
        assert all(memory.forget("nora").checks.values())
    assert (tmp_path / "m" / "index" / name / "mine").read_text() == "mine"
    assert check(tmp_path / "m").sound


def test_a_planted_list_that_leads_elsewhere_goes_alone(tmp_path, open_memory):
    (tmp_path / "victim").write_text("mine")
    with open_memory(tmp_path / "m", backends=("rag",), count_tokens=len) as memory:
        memory.add("The badge of Nora is 4471.", id="nora")
    with open_memory(tmp_path / "m", backends=("rag",), count_tokens=len) as memory:
        planted = [tmp_path / "m" / "index" / f"{n * 16}.lists" for n in ("a", "b")]
        planted[0].symlink_to(tmp_path / "victim")
        planted[1].hardlink_to(tmp_path / "victim")
        assert all(memory.forget("nora").checks.values())
    assert (tmp_path / "victim").read_text() == "mine"
    assert not any(path.is_symlink() or path.exists() for path in planted)


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_only_a_plain_file_is_replaced_by_what_is_written(tmp_path, open_memory, capsys, kind):
    """A page for /dev/full would have been a file in the place of the device."""
    path, other = tmp_path / "page.html", tmp_path / "other"
    make = {"pipe": os.mkfifo, "link": lambda p: p.symlink_to(other), "folder": Path.mkdir}[kind]
    make(path)
    before = path.lstat()
    with pytest.raises(UnsafePathError, match="expected a plain file at"), file_draft(path):
        pytest.fail("it began")
    open_memory(tmp_path / "m", backends=["buffer"]).close()
    assert cli.main(["inspect", str(tmp_path / "m"), "--html", str(path)]) in (1, 2)
    assert "Traceback" not in capsys.readouterr().err
    assert (path.lstat().st_mode, path.lstat().st_ino) == (before.st_mode, before.st_ino)
    assert not other.exists()

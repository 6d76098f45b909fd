"""The files of Anthropic's memory tool: what each command says, scopes, and models of the store."""

import json
import re
import threading
from contextlib import contextmanager
from pathlib import PurePosixPath
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from memkit import Memory
from memkit.errors import InvalidInputError, MissingDependencyError, NotFoundError
from memkit.server.anthropic_tool import anthropic_tool
from memkit.server.memory_tool import MemoryTool

U1, U2 = {"user": "u1"}, {"user": "u2"}


def items_alone(path):
    return Memory.open(path, backends=["buffer"], count_tokens=len)


@pytest.fixture
def store(tmp_path):
    with items_alone(tmp_path / "m") as memory:
        yield memory


@pytest.fixture
def files(store):
    return MemoryTool(store)


# -- what each command says, as Anthropic's documentation and example have it


def test_a_file_is_made_and_shown_with_numbers(files):
    said = files.create("/memories/notes.txt", "Hello\n\tWorld\n")

    assert said == "File created successfully at: /memories/notes.txt"
    assert files.view("/memories/notes.txt") == (
        "Here's the content of /memories/notes.txt with line numbers:\n"
        "     1\tHello\n     2\t\tWorld\n     3\t"
    )


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        ([2, 3], "     2\tb\n     3\tc"),
        ([3, -1], "     3\tc\n     4\td"),
        ([0, 1], "     1\ta"),
        ([4, 9], "     4\td"),
        ([3, 2], ""),
    ],
)
def test_some_lines_are_shown(files, lines, shown):
    files.create("/memories/f", "a\nb\nc\nd")

    head = "Here's the content of /memories/f with line numbers:\n"
    assert files.view("/memories/f", lines) == head + shown


def test_directories_are_listed_two_levels_deep_without_hidden_entries(files):
    files.create("/memories/b.md", "x" * 1536)
    files.create("/memories/a/one.txt", "é")
    files.create("/memories/a/deep/two.txt", "22")
    files.create("/memories/a/deep/down/three.txt", "333")
    files.create("/memories/.hidden/four.txt", "4444")
    files.create("/memories/a-b", "")

    assert files.view("/memories") == (
        "Here're the files and directories up to 2 levels deep in /memories, excluding hidden "
        "items:\n"
        "1.5K\t/memories\n"
        "7B\t/memories/a/\n"
        "5B\t/memories/a/deep/\n"
        "2B\t/memories/a/one.txt\n"
        "0B\t/memories/a-b\n"
        "1.5K\t/memories/b.md"
    )
    assert files.view("/memories/a/deep").splitlines()[1:] == [
        "5B\t/memories/a/deep",
        "3B\t/memories/a/deep/down/",
        "3B\t/memories/a/deep/down/three.txt",
        "2B\t/memories/a/deep/two.txt",
    ]


def test_a_text_is_replaced_and_the_change_is_shown(files):
    files.create("/memories/f", "1\n2\n3\nfour\n5\n6\n7")

    assert files.str_replace("/memories/f", "four", "4\n4b") == (
        "The memory file has been edited. Here is the snippet showing the change (with line "
        "numbers):\n     2\t2\n     3\t3\n     4\t4\n     5\t4b\n     6\t5"
    )
    assert "     7\t6\n     8\t7" in files.view("/memories/f")


def test_lines_are_inserted(files):
    files.create("/memories/f", "a\nb")

    assert files.insert("/memories/f", 0, "first\n") == "The file /memories/f has been edited."
    files.insert("/memories/f", 3, "last")
    assert files.view("/memories/f").splitlines()[1:] == [
        "     1\tfirst", "     2\ta", "     3\tb", "     4\tlast", "     5\t",
    ]  # fmt: skip


def test_files_and_directories_are_moved_and_deleted(files):
    files.create("/memories/a/f", "text")
    assert files.rename("/memories/a", "/memories/b/c") == (
        "Successfully renamed /memories/a to /memories/b/c"
    )
    assert "\ttext" in files.view("/memories/b/c/f")
    assert files.delete("/memories/b") == "Successfully deleted /memories/b"
    assert files.view("/memories").splitlines()[1:] == ["0B\t/memories"]


def test_all_is_cleared(files):
    files.create("/memories/a/f", "text")

    assert files.clear() == "All memory cleared"
    assert files.view("/memories").splitlines()[1:] == ["0B\t/memories"]


MISSING = "The path /memories/x does not exist. Please provide a valid path."


@pytest.mark.parametrize(
    ("kind", "call", "said"),
    [
        (NotFoundError, ("view", "/memories/x"), MISSING),
        (NotFoundError, ("str_replace", "/memories/x", "a", "b"), MISSING),
        (NotFoundError, ("insert", "/memories/x", 0, "a"), MISSING),
        (NotFoundError, ("delete", "/memories/x"), "The path /memories/x does not exist"),
        (
            NotFoundError,
            ("rename", "/memories/x", "/memories/y"),
            "The path /memories/x does not exist",
        ),
        (InvalidInputError, ("create", "/memories/f", ""), "File /memories/f already exists"),
        (InvalidInputError, ("create", "/memories/d", ""), "File /memories/d already exists"),
        (InvalidInputError, ("create", "/memories", ""), "File /memories already exists"),
        (
            InvalidInputError,
            ("create", "/memories/f/g", ""),
            "The path /memories/f is not a directory.",
        ),
        (
            InvalidInputError,
            ("str_replace", "/memories/f", "zz", "b"),
            "No replacement was performed, old_str `zz` did not appear verbatim in /memories/f.",
        ),
        (
            InvalidInputError,
            ("str_replace", "/memories/f", "aba", "b"),
            "No replacement was performed. Multiple occurrences of old_str `aba` in lines: 1, 1, "
            "3. Please ensure it is unique",
        ),
        (
            InvalidInputError,
            ("str_replace", "/memories/d", "a", "b"),
            "The path /memories/d is not a file.",
        ),
        (
            InvalidInputError,
            ("insert", "/memories/f", 4, "a"),
            "Invalid `insert_line` parameter: 4. It should be within the range [0, 3].",
        ),
        (
            InvalidInputError,
            ("insert", "/memories/f", -1, "a"),
            "Invalid `insert_line` parameter: -1. It should be within the range [0, 3].",
        ),
        (
            InvalidInputError,
            ("insert", "/memories/d", 0, "a"),
            "The path /memories/d is not a file.",
        ),
        (
            InvalidInputError,
            ("delete", "/memories"),
            "Cannot delete the /memories directory itself",
        ),
        (
            InvalidInputError,
            ("rename", "/memories", "/memories/y"),
            "Cannot rename the /memories directory itself",
        ),
        (
            InvalidInputError,
            ("rename", "/memories/f", "/memories/d"),
            "The destination /memories/d already exists",
        ),
        (
            InvalidInputError,
            ("rename", "/memories/d", "/memories/d/e"),
            "Cannot move /memories/d into itself",
        ),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(files, kind, call, said):
    files.create("/memories/f", "ababa\n-\naba\n")
    files.create("/memories/d/g", "text")
    before = files.view("/memories"), files.view("/memories/f"), files.view("/memories/d/g")
    name, *arguments = call

    with pytest.raises(kind, match=f"^{re.escape(said)}$"):
        getattr(files, name)(*arguments)
    after = files.view("/memories"), files.view("/memories/f"), files.view("/memories/d/g")
    assert after == before


@pytest.mark.parametrize(
    "path",
    [
        "/memories/../secret",
        "/memories/a/../../secret",
        "/memories/a/../../memories/f",
        "/memories/..",
        "/memories/./../../etc/passwd",
    ],
)
@pytest.mark.parametrize("command", ["view", "delete", "create", "rename"])
def test_no_path_leads_out(files, command, path):
    rest = {"create": ["x"], "rename": ["/memories/y"]}.get(command, [])

    with pytest.raises(InvalidInputError, match="would escape /memories directory"):
        getattr(files, command)(path, *rest)
    if command == "rename":
        files.create("/memories/f", "")
        with pytest.raises(InvalidInputError, match="would escape /memories directory"):
            files.rename("/memories/f", path)


@pytest.mark.parametrize(
    "path", ["", "/", "/etc/passwd", "memories/f", "/memoriesx", "/Memories/f", 7]
)
def test_paths_begin_at_the_root(files, path):
    with pytest.raises(InvalidInputError, match="Path must start with /memories, got: "):
        files.view(path)


@pytest.mark.parametrize(
    "path", ["/memories/a\n4K\t/memories/b", "/memories/\x1b[2J", "/memories/\u202eb"]
)
def test_no_path_can_pose_as_others_in_a_listing(files, path):
    with pytest.raises(InvalidInputError, match="must not contain control characters"):
        files.create(path, "")


@pytest.mark.parametrize("path", ["/memories/a//f", "/memories/./a/f", "/memories/b/../a/f/"])
def test_paths_are_one_however_they_are_written(files, path):
    files.create("/memories/a/f", "text")

    assert "\ttext" in files.view(path)


def test_odd_names_are_names(files):
    for name in ("%2e%2e%2fsecret", "..\\secret", "...", "a b", "Grüße", "é"):
        files.create(f"/memories/{name}", name)
        assert f"\t{name}" in files.view(f"/memories/{name}")
    assert "\té" in files.view("/memories/e\u0301")  # the same letter, written in two characters


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create", "/memories/f", None), "`file_text` must be a string"),
        (("create", "/memories/f", "a\0b"), "NUL"),
        (("create", "/memories/f", "\ud800"), "surrogate"),
        (("create", "/memories/f", "x" * 2_000_001), "at most 2,000,000 characters"),
        (("create", "/memories/" + "x" * 1025, ""), "at most 1024 characters"),
        (("view", "/memories/g", [1]), "Invalid `view_range` parameter"),
        (("view", "/memories/g", [1, -2]), "Invalid `view_range` parameter"),
        (("view", "/memories/g", ["1", "2"]), "Invalid `view_range` parameter"),
        (("view", "/memories/g", [True, 2]), "Invalid `view_range` parameter"),
        (("insert", "/memories/g", True, ""), "Invalid `insert_line` parameter"),
    ],
)
def test_bad_arguments_are_refused(files, arguments, said):
    files.create("/memories/g", "text")
    name, *rest = arguments

    with pytest.raises(InvalidInputError, match=re.escape(said)):
        getattr(files, name)(*rest)
    assert len(files.view("/memories").splitlines()) == 3


# -- commands as the model sends them


def test_commands_are_run(files):
    files.execute({"command": "create", "path": "/memories/f", "file_text": "a"})

    shown = files.execute({"command": "view", "path": "/memories/f", "view_range": [1, 1]})
    assert shown.endswith("     1\ta")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ({}, "Unknown command: None"),
        ({"command": "clear"}, "Unknown command: clear"),
        ({"command": "execute"}, "Unknown command: execute"),
        ({"command": ["view"]}, "Unknown command"),
        ({"command": "view"}, "The command view is missing ['path']."),
        ({"command": "view", "path": "/memories", "x": 1}, "The command view does not take ['x']."),
    ],
)
def test_commands_that_are_none_are_refused(files, command, said):
    with pytest.raises(InvalidInputError, match=re.escape(said)):
        files.execute(command)


# -- whose files


def test_each_scope_has_files_of_its_own(store):
    one, other, shared = MemoryTool(store, U1), MemoryTool(store, U2), MemoryTool(store)
    one.create("/memories/f", "of one")
    other.create("/memories/f", "of the other")

    assert "of one" in one.view("/memories/f")
    assert "of the other" in other.view("/memories/f")
    assert shared.view("/memories").splitlines()[1:] == ["0B\t/memories"]
    one.clear()
    assert "of the other" in other.view("/memories/f")


def test_forgetting_a_scope_erases_its_files(store, tmp_path):
    MemoryTool(store, U1).create("/memories/f", "the mushroom omelette")
    MemoryTool(store, U2).create("/memories/f", "of the other")

    assert store.forget(scope=U1).items == 1
    assert b"mushroom" not in b"".join(
        file.read_bytes() for file in (tmp_path / "m").rglob("*") if file.is_file()
    )
    assert "of the other" in MemoryTool(store, U2).view("/memories/f")


def test_files_are_there_after_reopening_and_moving(store, tmp_path):
    MemoryTool(store, U1).create("/memories/d/f", "text")
    store.export(tmp_path / "x")
    store.close()

    with items_alone(tmp_path / "m") as again, items_alone(tmp_path / "n") as moved:
        moved.import_(tmp_path / "x")
        for memory in (again, moved):
            assert "\ttext" in MemoryTool(memory, U1).view("/memories/d/f")


def test_no_edit_is_lost_between_threads(tmp_path):
    with items_alone(tmp_path / "m") as store:
        files = MemoryTool(store)
        files.create("/memories/f", "")

        def write(name):
            for number in range(5):
                files.insert("/memories/f", 0, f"{name}{number}")

        threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(files.view("/memories/f").splitlines()) == 1 + 20 + 1


# -- against plain models


NAMES = st.sampled_from(["a", "b", ".h", "a.b"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(lambda parts: "/memories/" + "/".join(parts))
TEXTS = st.lists(st.sampled_from(["x", "yx", "\n", "é", "\r"]), max_size=6).map("".join)


class Refused(Exception):
    pass


class Plain:
    """Files as a dict of texts, directories as a set; written without a look at memkit."""

    def __init__(self):
        self.texts, self.folders = {}, {"/memories"}

    def exists(self, path):
        return path in self.texts or path in self.folders

    def parents(self, path):
        above = [str(parent) for parent in PurePosixPath(path).parents][:-1]
        if any(folder in self.texts for folder in above):
            raise Refused
        self.folders.update(above)

    def inside(self, path, place):
        return place == path or place.startswith(path + "/")

    def create(self, path, text):
        if self.exists(path):
            raise Refused
        self.parents(path)
        self.texts[path] = text

    def str_replace(self, path, old, new):
        text = self.texts.get(path)
        if text is None or sum(text.startswith(old, i) for i in range(len(text) + 1)) != 1:
            raise Refused
        self.texts[path] = text.replace(old, new)

    def insert(self, path, line, text):
        if path not in self.texts:
            raise Refused
        lines = self.texts[path].split("\n")
        lines = lines[:-1] if lines[-1] == "" else lines
        if line > len(lines):
            raise Refused
        lines[line:line] = [text.rstrip("\n")]
        whole = "\n".join(lines)
        self.texts[path] = whole if whole.endswith("\n") else whole + "\n"

    def delete(self, path):
        if not self.exists(path):
            raise Refused
        self.texts = {p: t for p, t in self.texts.items() if not self.inside(path, p)}
        self.folders = {p for p in self.folders if not self.inside(path, p)}

    def rename(self, old, new):
        if self.exists(new) or not self.exists(old) or self.inside(old, new):
            raise Refused
        self.parents(new)
        self.texts = {self.moved(p, old, new): t for p, t in self.texts.items()}
        self.folders = {self.moved(p, old, new) for p in self.folders}

    def moved(self, place, old, new):
        return new + place[len(old) :] if self.inside(old, place) else place


class AgainstPlainFiles(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = TemporaryDirectory()
        self.memory = items_alone(f"{self.folder.name}/m")
        self.files, self.plain = MemoryTool(self.memory, U1), Plain()
        self.others = MemoryTool(self.memory, U2)
        self.others.create("/memories/a", "of the other")

    def teardown(self):
        self.memory.close()
        self.folder.cleanup()

    @contextmanager
    def same(self, call):
        try:
            call()
        except Refused:
            with pytest.raises((InvalidInputError, NotFoundError)):
                yield
        else:
            yield

    @rule(path=PATHS, text=TEXTS)
    def create(self, path, text):
        with self.same(lambda: self.plain.create(path, text)):
            self.files.create(path, text)

    @rule(path=PATHS, old=TEXTS, new=TEXTS)
    def str_replace(self, path, old, new):
        with self.same(lambda: self.plain.str_replace(path, old, new)):
            self.files.str_replace(path, old, new)

    @rule(path=PATHS, line=st.integers(0, 4), text=TEXTS)
    def insert(self, path, line, text):
        with self.same(lambda: self.plain.insert(path, line, text)):
            self.files.insert(path, line, text)

    @rule(path=PATHS)
    def delete(self, path):
        with self.same(lambda: self.plain.delete(path)):
            self.files.delete(path)

    @rule(old=PATHS, new=PATHS)
    def rename(self, old, new):
        with self.same(lambda: self.plain.rename(old, new)):
            self.files.rename(old, new)

    @invariant()
    def the_same_files_are_there(self):
        for path, text in self.plain.texts.items():
            _, *lines = self.files.view(path).split("\n")
            assert [line[7:] for line in lines] == text.split("\n")
        for folder in self.plain.folders:
            shown = {line.partition("\t")[2] for line in self.files.view(folder).split("\n")[1:]}
            near = {
                place + ("/" if place in self.plain.folders else "")
                for place in [*self.plain.texts, *self.plain.folders]
                if self.plain.inside(folder, place) and place != folder
                and len(parts := PurePosixPath(place).relative_to(folder).parts) <= 2
                and not any(part.startswith(".") for part in parts)
            }  # fmt: skip
            assert shown == near | {folder}
        assert "of the other" in self.others.view("/memories/a")


TestAgainstPlainFiles = AgainstPlainFiles.TestCase
TestAgainstPlainFiles.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)


# -- with Anthropic's SDK


@pytest.mark.slow
def test_the_sdks_tool_runs_the_commands(store):
    tools = pytest.importorskip("anthropic.lib.tools")
    tool = anthropic_tool(MemoryTool(store, U1))

    assert isinstance(tool, tools.BetaAbstractMemoryTool)
    assert tool.to_dict() == {"type": "memory_20250818", "name": "memory"}
    made = tool.call({"command": "create", "path": "/memories/f", "file_text": "a\nb"})
    assert made == "File created successfully at: /memories/f"
    shown = tool.call({"command": "view", "path": "/memories/f", "view_range": [2, 2]})
    assert shown.endswith("     2\tb")
    with pytest.raises(tools.ToolError, match=r"^File /memories/f already exists$") as caught:
        tool.call({"command": "create", "path": "/memories/f", "file_text": ""})
    assert caught.value.content == "File /memories/f already exists"
    assert tool.clear_all_memory() == "All memory cleared"


def test_a_missing_sdk_is_named(store, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "anthropic.lib.tools", None)

    with pytest.raises(MissingDependencyError, match=r"(?s)anthropic.*pip install -U anthropic"):
        anthropic_tool(MemoryTool(store))


SCRIPT = [
    {"command": "view", "path": "/memories"},
    {"command": "create", "path": "/memories/a/f.md", "file_text": "one\ntwo\nthree\ntwo\n"},
    {"command": "create", "path": "/memories/a/f.md", "file_text": ""},
    {"command": "create", "path": "/memories/.h", "file_text": "é" * 700},
    {"command": "create", "path": "/memories/g", "file_text": "x" * 2048},
    {"command": "view", "path": "/memories"},
    {"command": "view", "path": "/memories/a"},
    {"command": "view", "path": "/memories/a/f.md"},
    {"command": "view", "path": "/memories/a/f.md", "view_range": [2, -1]},
    {"command": "view", "path": "/memories/a/f.md", "view_range": [4, 2]},
    {"command": "view", "path": "/memories/none"},
    {"command": "str_replace", "path": "/memories/a/f.md", "old_str": "two", "new_str": "2"},
    {"command": "str_replace", "path": "/memories/a/f.md", "old_str": "", "new_str": "2"},
    {"command": "str_replace", "path": "/memories/a/f.md", "old_str": "four", "new_str": "4"},
    {"command": "str_replace", "path": "/memories/a/f.md", "old_str": "one\n", "new_str": ""},
    {"command": "str_replace", "path": "/memories/a", "old_str": "one", "new_str": ""},
    {"command": "str_replace", "path": "/memories/none", "old_str": "one", "new_str": ""},
    {"command": "insert", "path": "/memories/a/f.md", "insert_line": 1, "insert_text": "new\n\n"},
    {"command": "insert", "path": "/memories/a/f.md", "insert_line": 9, "insert_text": "new"},
    {"command": "insert", "path": "/memories/a", "insert_line": 0, "insert_text": "new"},
    {"command": "insert", "path": "/memories/none", "insert_line": 0, "insert_text": "new"},
    {"command": "view", "path": "/memories/a/f.md"},
    {"command": "rename", "old_path": "/memories/a", "new_path": "/memories/b/c"},
    {"command": "rename", "old_path": "/memories/g", "new_path": "/memories/b/c"},
    {"command": "rename", "old_path": "/memories/none", "new_path": "/memories/n"},
    {"command": "rename", "old_path": "/memories", "new_path": "/memories/n"},
    {"command": "view", "path": "/memories"},
    {"command": "delete", "path": "/memories/b/c/f.md"},
    {"command": "view", "path": "/memories/b"},
    {"command": "delete", "path": "/memories/b"},
    {"command": "delete", "path": "/memories/none"},
    {"command": "delete", "path": "/memories"},
    {"command": "view", "path": "/memories/../x"},
    {"command": "view", "path": "/etc"},
    {"command": "view", "path": "/memories"},
]


@pytest.mark.slow
def test_every_word_is_that_of_anthropics_example(store, tmp_path):
    tools = pytest.importorskip("anthropic.tools")
    theirs = tools.BetaLocalFilesystemMemoryTool(str(tmp_path / "theirs"))
    ours = anthropic_tool(MemoryTool(store))

    def said(tool, command):
        try:
            text = tool.call(dict(command))
        except tools.ToolError as error:
            text = f"error: {error}"
        # A file system's own size of a directory depends on the file system.
        return re.sub(r"(?m)^[\d.]+[BKMG]\t(\S+/|/memories(/[abc])*)$", r"\1", text)

    for command in SCRIPT:
        assert said(ours, command) == said(theirs, command), json.dumps(command)

"""Every command of the command line, one after the other, on a memory with small models."""

import io
import json
import shutil
import subprocess
import sys

import jsonschema
import pytest
from typer.testing import CliRunner

from memkit import Memory
from memkit.cli import main as cli
from memkit.cli.app import application, command_line
from memkit.testing import HashingEmbedder

# What each command is called with, behind the memory's path; None where it takes none.
ON_A_MEMORY = {
    "add": ["A new fact."],
    "ask": ["What is the badge number of Nora?"],
    "chat": [],
    "check": [],
    "consolidate": [],
    "explain": ["What is the badge number of Nora?"],
    "export": ["{tmp}/archive"],
    "forget": ["Nora"],
    "get": ["Nora"],
    "history": ["Nora"],
    "import": ["{tmp}/given"],
    "init": [],
    "list": [],
    "modules list": [],
    "modules export": ["m0001", "{tmp}/adapter"],
    "modules import": ["{tmp}/given-adapter", "--record", "Nora"],
    "modules compact": [],
    "modules retrain": ["m0001"],
    "modules rollback": ["m0001", "1"],
    "recall": ["badge number of Nora"],
    "reembed": ["{tmp}/nothing"],
    "search": ["badge number of Nora"],
    "stats": [],
    "update": ["Nora", "--metadata", "source=hr"],
}
TRAINING = {"forget", "modules compact", "modules retrain"}
MAKES_ONE = {"add", "chat", "import", "init"}  # where there is no memory yet
# They have a page of their own in the tests.
ELSEWHERE = {
    "capacity",
    "demo",
    "doctor",
    "models",
    "prepare",
    "eval",
    "inspect",
    "jobs",
    "mcp",
    "serve",
    "study",
    "worker",
}


def leaves(command, words=()):
    children = getattr(command, "commands", None)
    if children is None:
        return [" ".join(words)]
    return [leaf for name, child in children.items() for leaf in leaves(child, (*words, name))]


COMMANDS = leaves(command_line())


pytestmark = pytest.mark.usefixtures("opened_small")


@pytest.fixture
def directory(tmp_path, trained_directory):
    return shutil.copytree(trained_directory, tmp_path / "agent.mem")


def test_no_command_is_forgotten_here():
    assert set(ON_A_MEMORY) == {c for c in COMMANDS if c.split()[0] not in ELSEWHERE}


@pytest.mark.parametrize("command", ["", "modules", *COMMANDS])
def test_every_command_has_help(command):
    result = CliRunner().invoke(application(), [*command.split(), "--help"])

    assert result.exit_code == 0
    assert f"Usage: {' '.join(['memkit', *command.split()])}" in " ".join(result.output.split())


@pytest.mark.parametrize("command", sorted(set(ON_A_MEMORY) - MAKES_ONE))
def test_an_unknown_memory_is_told_before_anything_is_loaded(
    command, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("memkit.memory.engine.Engine.load_embedder", pytest.fail)
    arguments = [word.format(tmp=tmp_path) for word in ON_A_MEMORY[command]]

    assert cli.main([*command.split(), str(tmp_path / "nowhere"), *arguments]) == 1

    output, told = capsys.readouterr()
    assert output == ""
    assert told.startswith(f"memkit: there is no memory at '{tmp_path / 'nowhere'}'")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=[pytest.mark.slow] * (command in TRAINING))
        for command in sorted(set(ON_A_MEMORY) - {"reembed", "modules import"})
    ],
)
def test_what_every_command_prints_as_json_is_json(
    command, directory, tmp_path, capsys, monkeypatch
):
    if command == "import":
        assert cli.main(["export", str(directory), str(tmp_path / "given")]) == 0
        directory = tmp_path / "fresh.mem"
    monkeypatch.setattr(sys, "stdin", io.StringIO("What is the badge number of Nora?\n"))
    arguments = [word.format(tmp=tmp_path) for word in ON_A_MEMORY[command]]
    capsys.readouterr()

    assert cli.main([*command.split(), str(directory), *arguments, "--json"]) == 0

    printed = json.loads(capsys.readouterr().out)
    assert isinstance(printed, dict | list)


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (["ask", "What is the badge number of Nora?", "--budget", "0"], "text", "4471"),
        (["get", "Nora"], "answer", "4471"),
        (["stats"], "records", 8),
        (["forget", "Nora", "--no-retrain"], "records", ["Nora"]),
        (["list", "--where", "source=nowhere"], "records", []),
    ],
)
def test_json_says_what_the_verb_returned(words, field, value, directory, capsys):
    assert cli.main([words[0], str(directory), *words[1:], "--json"]) == 0

    assert json.loads(capsys.readouterr().out)[field] == value


SCHEMA = {
    "type": "object",
    "properties": {"badge": {"type": "string", "pattern": "^[0-9]{4}$"}},
    "required": ["badge"],
}


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_an_answer_fits_the_schema_in_a_file(directory, tmp_path, capsys, more):
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(SCHEMA))
    asked = ["ask", str(directory), "What is the badge number of Nora?", "--schema", str(file)]

    assert cli.main([*asked, "--max-tokens", "40", *more]) == 0

    out = capsys.readouterr().out
    answer = json.loads(json.loads(out)["text"] if more else out)
    jsonschema.validate(answer, SCHEMA)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("{", "expected JSON"),
        ("[]", "expected a JSON object"),
        (b"\xff", "not UTF-8"),
        ('{"type": "string"}', "stored words fit no --schema"),
    ],
)
def test_a_schema_that_cannot_be_read_is_told_before_anything_is_loaded(
    tmp_path, capsys, content, message
):
    file = tmp_path / "schema.json"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())

    assert cli.main(["ask", "no.mem", "Who?", "--schema", str(file), "--quote"]) == 2

    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_what_is_not_there_is_not_found(directory, capsys):
    for words in (["get"], ["history"], ["forget", "--no-retrain"], ["update", "--answer", "x"]):
        assert cli.main([words[0], str(directory), "nobody", *words[1:]]) == 1
        assert "no record has the id 'nobody'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_record_is_shown_to_whom_its_scope_lets(directory, capsys):
    assert cli.main(["add", str(directory), "Ada likes tea.", "--scope", "user=ada"]) == 0
    id = capsys.readouterr().out.strip()

    assert cli.main(["get", str(directory), id]) == 0  # whoever looks after the memory sees all
    assert cli.main(["get", str(directory), id, "--scope", "user=ada"]) == 0
    assert cli.main(["get", str(directory), id, "--scope", "user=bob"]) == 1
    assert cli.main(["forget", str(directory), id, "--scope", "user=bob", "--no-retrain"]) == 1
    capsys.readouterr()
    assert cli.main(["search", str(directory), "tea"]) == 0
    assert id not in capsys.readouterr().out
    assert cli.main(["search", str(directory), "tea", "--scope", "user=ada"]) == 0
    assert id in capsys.readouterr().out


def test_a_list_goes_on_where_it_ended(directory, capsys):
    ids = []
    after = []
    for _ in range(3):
        assert cli.main(["list", str(directory), "--limit", "3", "--json", *after]) == 0
        page = json.loads(capsys.readouterr().out)
        ids += [record["id"] for record in page["records"]]
        after = ["--after", str(page["next"])]
    assert page["next"] is None
    assert ids == ["Nora", "Emil", "Tara", "Owen", "Lena", "Hugo", "Mira", "Anton"]


def test_modules_are_listed_and_rolled_back(directory, capsys):
    assert cli.main(["modules", "list", str(directory)]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [(row[0], row[1], row[3]) for row in rows] == [
        ("m0001", "v1", "4"),
        ("m0002", "v1", "4"),
    ]

    assert cli.main(["modules", "rollback", str(directory), "m0001", "9"]) == 1
    assert "memkit: " in capsys.readouterr().err


def test_a_module_goes_out_and_comes_in_again(directory, tmp_path, capsys):
    folder = str(tmp_path / "adapter")
    assert cli.main(["modules", "export", str(directory), "m0001", folder]) == 0
    assert (tmp_path / "adapter" / "adapter_model.safetensors").exists()
    assert cli.main(["forget", str(directory), "Owen", "--no-retrain"]) == 0  # drops the module
    records = [word for id in ("Nora", "Emil", "Tara") for word in ("--record", id)]
    capsys.readouterr()
    assert cli.main(["modules", "import", str(directory), folder, *records, "--json"]) == 0
    assert sorted(json.loads(capsys.readouterr().out)["held"]) == ["Emil", "Nora", "Tara"]


def test_a_record_of_an_imported_module_may_be_named_by_its_beginning(
    directory, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("memkit.cli.finding.SHORTEST", 2)
    folder = str(tmp_path / "adapter")
    assert cli.main(["modules", "export", str(directory), "m0001", folder]) == 0
    capsys.readouterr()
    words = ["modules", "import", str(directory), folder, "--record", "No", "--json"]
    assert cli.main(words) == 0
    assert json.loads(capsys.readouterr().out)["held"] == ["Nora"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["export", "{}", "m0009", "out"], "no module has the name 'm0009'"),
        (["import", "{}", "nowhere", "--record", "Nora"], "expected a folder, there is none"),
        (["import", "{}", "{}", "--record", "nobody"], "no record has the id 'nobody'"),
    ],
)
def test_what_is_not_there_is_told_before_a_model_is_loaded(
    directory, capsys, monkeypatch, words, complaint
):
    opened = Memory.open

    def open_without_models(path, **options):
        assert options["backends"] == ("buffer",)
        return opened(path, **options)

    monkeypatch.setattr(Memory, "open", open_without_models)
    assert cli.main(["modules", *(word.format(directory) for word in words)]) in {1, 2}
    assert complaint in capsys.readouterr().err


def test_where_there_is_no_module_none_is_trained_again(tmp_path, capsys):
    path = str(tmp_path / "new.mem")
    assert cli.main(["init", path]) == 0
    capsys.readouterr()
    assert cli.main(["modules", "retrain", path]) == 0
    assert capsys.readouterr() == ("", "there are no modules; memkit consolidate trains some\n")


LIGHT = """
import sys
from memkit.cli.main import main
path, out = sys.argv[1:]
for words in (
    ["init"], ["stats"], ["list"], ["get", "Nora"], ["history", "Nora"], ["modules", "list"],
    ["export", out], ["forget", "Nora", "--no-retrain"], ["check"], ["nonsense"], ["--help"],
):
    main([words[0], *words[1:2], path] if words[0] == "modules" else [words[0], path, *words[1:]])
heavy = {"torch", "transformers", "sentence_transformers", "peft", "fastapi", "mcp", "matplotlib"}
print(sorted(heavy & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.slow
def test_commands_that_need_no_model_load_none(directory, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, str(directory), str(tmp_path / "archive")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stderr.splitlines()[-1] == "[]", done.stderr
    assert "forgotten records   Nora" in done.stdout
    assert f"{directory} is sound" in done.stdout


@pytest.mark.parametrize(
    ("reply", "words", "left"), [("n\n", (), 1), ("", (), 1), ("y\n", (), 0), ("n\n", ("-y",), 0)]
)
def test_a_person_is_asked_before_all_of_a_scope_goes(tmp_path, capsys, reply, words, left):
    directory = tmp_path / "a.mem"
    with Memory.open(directory, embedder=HashingEmbedder(), backends=["rag"]) as memory:
        memory.add("Owen has the key.", scope={"user": "bob"})
        memory.add("Nora has a dog.")
    terminal = io.StringIO(reply)
    terminal.isatty = lambda: True
    command = ["forget", str(directory), "--scope", "user=bob", "--no-retrain", *words]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", terminal)
        status = cli.main(command)

    asked = "Erase 1 record for good? [y/N]" in capsys.readouterr().err
    assert (status == 0, asked) == (not left, not words)
    with Memory.open(directory, embedder=HashingEmbedder(), backends=["rag"]) as memory:
        assert (memory.count(scope={"user": "bob"}), memory.count()) == (left, 1)

"""`memkit doctor` and `memkit models`, and how many threads commands compute with."""

import json
import os
from email.message import Message
from importlib.metadata import version

import pytest

from memkit import Memory
from memkit.cli import health, threads
from memkit.cli import main as cli
from memkit.errors import ModelUnavailableError
from memkit.models.embedder import SentenceEmbedder
from memkit.models.footprint import footprint
from memkit.models.language_model import TransformersModel
from memkit.models.machine_memory import DeviceMemory
from memkit.models.placement import Placement
from memkit.models.sources import Source
from memkit.testing import HashingEmbedder, tiny_llama


def nowhere(spec=None, *, fetch=True):
    raise ModelUnavailableError("expected the model in one of these places", "pip install it")


@pytest.fixture
def environment(monkeypatch):
    """An environment that says nothing of threads."""
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    # What is set by the code under test goes again, too.
    monkeypatch.setattr(os, "environ", dict(os.environ))
    return os.environ


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine of eight cores, with a limit in the words of control groups."""

    def limited(words):
        quota = tmp_path / "cpu.max"
        quota.write_text(words)
        monkeypatch.setattr(threads, "_QUOTA", quota)

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    limited("max 100000\n")
    return limited


def test_threads_sleep_while_they_wait_and_are_as_many_as_cores(environment, machine):
    threads.settle_threads()

    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert "OMP_NUM_THREADS" not in environment  # what the libraries make of the cores is right


@pytest.mark.parametrize(("limit", "count"), [("150000 100000", 2), ("20000 100000", 1)])
def test_a_share_of_the_cores_is_not_taken_for_all_of_them(environment, machine, limit, count):
    machine(limit)
    threads.settle_threads()

    assert environment["OMP_NUM_THREADS"] == str(count)
    assert threads.cores() == pytest.approx(int(limit.split()[0]) / 100_000)


def test_what_the_environment_says_of_threads_stays(environment, machine):
    machine("100000 100000")
    environment |= {"OMP_NUM_THREADS": "5", "OMP_WAIT_POLICY": "ACTIVE", "GOMP_SPINCOUNT": "9"}
    before = dict(environment)
    threads.settle_threads()

    assert environment == before


def test_other_programs_are_seen_in_the_ticks_of_the_cores(monkeypatch):
    # Of 200 ticks that all cores have had, 150 were worked.
    ticks = iter([(1000, 5000), (1150, 5200)])
    monkeypatch.setattr(threads, "_ticks", lambda: next(ticks))
    monkeypatch.setattr(threads, "_SAMPLE", 0)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert threads.others() == 6.0


def test_a_process_of_its_own_settles_its_threads_and_no_other(monkeypatch):
    settled = []
    monkeypatch.setattr(threads, "settle_threads", lambda: settled.append(1))
    cli.main(["--version"])
    assert settled == []
    monkeypatch.setattr("sys.argv", ["memkit", "--version"])
    cli.main()
    assert settled == [1]


@pytest.fixture
def found(monkeypatch, tmp_path):
    """A machine on which everything is there, whatever this one lacks."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights").write_bytes(b"x" * 1000)
    (model / "again").symlink_to(model / "weights")
    (model / "config.json").write_text('{"model_type": "llama"}')

    def find(spec=None, *, fetch=True):
        assert not fetch, "nothing is to be downloaded"
        return Source("some-model", model, "package")

    for place in ("memkit.cli.health", "memkit.models.sources", "memkit.models.footprint"):
        monkeypatch.setattr(f"{place}.find_base", find)
    for place in ("memkit.cli.health", "memkit.models.sources"):
        monkeypatch.setattr(f"{place}.find_embedder", find)
    monkeypatch.setenv("MEMKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(threads, "others", lambda: 0.0)
    return model


def examined(capsys, *words):
    status = cli.main(["doctor", *words, "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_a_machine_that_has_everything_is_well(found, capsys):
    status, findings = examined(capsys)

    assert status == 0
    assert not [each for each in findings if each["state"] == "problem"]
    whats = [each["what"] for each in findings]
    assert {"libraries", "SQLite", "language model", "processor", "disk", "GPU"} <= set(whats)


EXTRAS = {
    "Provides-Extra": ["serve", "postgres", "test"],
    "Requires": ["torch", "packaging; extra == 'serve'", "no-such-driver>=3; extra == 'postgres'",
                 "pytest>=999; extra == 'postgres'", "no-such-thing; extra == 'test'"],
}  # fmt: skip


def test_each_extra_is_told_with_what_it_lacks_and_the_remedy(found, capsys, monkeypatch):
    message = Message()
    for extra in EXTRAS["Provides-Extra"]:
        message["Provides-Extra"] = extra
    monkeypatch.setattr(health.metadata, "requires", lambda _: EXTRAS["Requires"])
    monkeypatch.setattr(health.metadata, "metadata", lambda _: message)

    status, findings = examined(capsys)

    assert status == 0
    extras = {each["what"]: each for each in findings if each["what"].startswith("extra")}
    assert extras.keys() == {"extra serve", "extra postgres"}
    assert extras["extra serve"]["found"] == f"packaging {version('packaging')}"
    assert extras["extra postgres"] == {
        "state": "note",
        "what": "extra postgres",
        "found": f"no-such-driver is missing; pytest is {version('pytest')}, expected >=999",
        "remedy": "pip install 'memkit-sdk[postgres]'",
    }


def test_what_keeps_memkit_from_working_is_told_with_its_remedy(found, capsys, monkeypatch):
    monkeypatch.setattr(health, "find_embedder", nowhere)

    status, findings = examined(capsys)
    (problem,) = [each for each in findings if each["state"] == "problem"]
    assert status == 1
    assert (problem["what"], problem["remedy"]) == ("embedder", "pip install it")

    assert cli.main(["doctor"]) == 1
    output, told = capsys.readouterr()
    assert "problem\tembedder\texpected the model in one of these places\tpip install it" in output
    assert told == "1 thing keeps memkit from working\n"


def test_little_room_is_worth_a_note(found, capsys, monkeypatch):
    monkeypatch.setattr(health, "LOW_DISK", 2**80)
    monkeypatch.setattr(threads, "others", lambda: 1000.0)

    status, findings = examined(capsys)

    notes = {each["what"] for each in findings if each["state"] == "note" and each["remedy"]}
    assert status == 0
    assert {"disk", "processor"} <= notes


def test_free_memory_is_what_programs_can_take_caches_of_files_included(found, capsys, monkeypatch):
    monkeypatch.setattr(health, "machine_memory", lambda: DeviceMemory(3 * 2**30, 4 * 2**30))

    _, findings = examined(capsys)

    (line,) = [each for each in findings if each["what"] == "memory"]
    assert (line["state"], line["found"]) == ("ok", "3.0 of 4.0 GiB are free")


def test_a_memory_is_examined_as_well(found, capsys, tmp_path, monkeypatch):
    opened = Memory.open
    monkeypatch.setattr(
        Memory, "open", lambda path, **options: opened(path, embedder=HashingEmbedder(), **options)
    )
    path = tmp_path / "agent.mem"
    with Memory.open(path, create=True) as memory:
        memory.add("The archive is on the second floor.")

    status, findings = examined(capsys, str(path))
    assert (status, findings[-1]["what"], findings[-1]["state"]) == (0, "this memory", "ok")
    assert findings[-1]["found"].startswith("1 record (")

    status, findings = examined(capsys, str(tmp_path / "nowhere"))
    assert (status, findings[-1]["state"]) == (1, "problem")
    assert "there is no memory at" in findings[-1]["found"]


def test_models_are_listed_with_their_sizes(found, capsys):
    assert cli.main(["models", "--json"]) == 0
    models = json.loads(capsys.readouterr().out)

    assert [model["use"] for model in models[:2]] == ["language model", "embedder"]
    assert models[0]["bytes"] == 1023  # a link is no copy
    assert models[0]["path"] == str(found)


def test_a_default_model_that_is_not_there_is_named(found, capsys, monkeypatch):
    monkeypatch.setattr("memkit.models.sources.find_base", nowhere)
    assert cli.main(["models"]) == 0
    assert "no default language model: see memkit doctor" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["eval", "documents.jsonl"], ["study", "--quick"]])
def test_a_missing_extra_is_told_before_anything_is_read(capsys, monkeypatch, words):
    monkeypatch.setattr("memkit.server.extras.find_spec", lambda _: None)

    assert cli.main(words) == 1

    told = capsys.readouterr().err
    assert "this needs matplotlib and rouge_score and sacrebleu, which are not installed" in told
    assert "hint: pip install 'memkit-sdk[evals]'" in told


# -- what a model takes, and getting it ready


def memory_line(capsys, *words):
    status, findings = examined(capsys, *words)
    (line,) = [each for each in findings if each["what"] == "model's memory"]
    return status, line


@pytest.mark.slow
def test_what_a_model_and_its_caches_take_is_told(capsys, llama_folder, monkeypatch):
    parameters = tiny_llama().size
    given = ["--base-model", str(llama_folder), "--device", "cpu", "--dtype", "bfloat16"]
    status, line = memory_line(capsys, *given, "--max-memory", f"{2 * parameters + 32 * 2**20}")

    assert (status, line["state"]) == (0, "ok")
    assert line["found"].startswith("0 million parameters in bfloat16 on cpu: 0.00 GiB")
    # An eighth of what is left; a token takes 256 bytes, so 4,096 of them are less than that.
    assert "caches of up to 1 MiB of prefixes, 2 MiB of adapters, 4 MiB of" in line["found"]

    status, line = memory_line(capsys, *given, "--max-memory", "1000")
    assert (status, line["state"]) == (1, "problem")
    assert "`max_memory` is 0.00 GiB, the weights of my-llama take" in line["found"]

    monkeypatch.setattr("memkit.models.footprint.memory_of", lambda _: DeviceMemory(1000, 2000))
    status, line = memory_line(capsys, *given)
    assert (status, line["state"]) == (0, "note")
    assert "--dtype bfloat16" in line["remedy"]


def test_what_is_reckoned_is_what_a_loaded_model_has(llama_folder, monkeypatch):
    for place in ("footprint", "language_model"):
        monkeypatch.setattr(
            f"memkit.models.{place}.memory_of", lambda _: DeviceMemory(2**30, 2**30)
        )
    reckoned = footprint(llama_folder, Placement("cpu", "float32", None, 2**28))
    loaded = TransformersModel.load(llama_folder, device="cpu", dtype="float32", max_memory=2**28)

    assert reckoned.weights == loaded.weight_bytes
    assert reckoned.parameters == loaded.size
    assert reckoned.bounds == loaded.bounds
    assert reckoned.room == loaded.room


def test_a_model_that_was_not_converted_yet_is_a_note(found, capsys, monkeypatch, tmp_path):
    gguf = tmp_path / "some.gguf"
    gguf.write_bytes(b"GGUF")
    source = Source("some", gguf, "package", gguf=True)
    monkeypatch.setattr("memkit.models.footprint.find_base", lambda *_, **__: source)

    status, line = memory_line(capsys)
    assert (status, line["state"], line["remedy"]) == (0, "note", "memkit prepare")


def test_models_are_prepared(capsys, llama_folder, monkeypatch, tmp_path):
    source = Source("MiniLM", tmp_path, "package")
    monkeypatch.setattr("memkit.models.sources.find_embedder", lambda *_, **__: source)
    made = []

    class Embedder(HashingEmbedder):
        device = "cpu"

    def load(spec, **options):
        made.append(options)
        return Embedder()

    monkeypatch.setattr(SentenceEmbedder, "load", load)
    words = ["prepare", "--base-model", str(llama_folder), "--device", "cpu", "--dtype", "bfloat16"]
    assert cli.main([*words, "--json"]) == 0
    model, embedder = json.loads(capsys.readouterr().out)

    assert made == [{"device": "cpu"}]
    assert model["path"] == str(llama_folder)
    assert model["computes"] == "bfloat16 on cpu, attention by sdpa"
    assert model["fingerprint"] == tiny_llama().fingerprint
    assert model["weight_bytes"] == 2 * model["parameters"] == 2 * tiny_llama().size
    assert embedder["name"] == "MiniLM"
    assert embedder["computes"] == "64 numbers on cpu"
    assert cli.main(words) == 0
    output, told = capsys.readouterr()
    assert "language model\tmy-llama\tpath\t" in output
    assert f"my-llama: {llama_folder}" in told


def test_a_model_that_is_nowhere_cannot_be_prepared(capsys, monkeypatch):
    monkeypatch.setattr("memkit.models.sources.find_base", nowhere)
    assert cli.main(["prepare"]) == 1
    assert "hint: pip install it" in capsys.readouterr().err

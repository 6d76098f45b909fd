"""Adapters that leave a memory and come into one: whole, checked, verified; or not at all."""

import copy
import json
import logging
import warnings
from dataclasses import replace

import pytest
import torch
from peft import PeftModel

from memkit import Draft
from memkit.errors import (
    BusyError,
    CorruptFileError,
    IncompatibleModelError,
    InvalidInputError,
    MemkitError,
    ModuleNotFoundInMemoryError,
    RecordNotFoundError,
    UnsafePathError,
    UnsupportedOperationError,
)
from memkit.files import file_lock
from memkit.lora.peft.merges import Merge
from memkit.lora.peft.peft_format import CONFIG, MANIFEST, WEIGHTS
from memkit.testing import tiny_llama
from memkit.types import Route

IDS = torch.tensor([[5, 9, 70, 33, 8, 120], [77, 3, 15, 200, 41, 6]])
NORA = "What is the badge number of Nora?"

# PEFT reads a property that transformers is about to rename.
peft_warns = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


def served(memory, mixture):
    """The logits with a mixture in place, over the whole sequence as PEFT does."""
    lora = memory._engine.lora
    with torch.no_grad(), lora.adapters([Route(mixture)] * len(IDS)):
        return lora.base.model(IDS, use_cache=False).logits


def in_peft(folder, tiny):
    return PeftModel.from_pretrained(copy.deepcopy(tiny.model), folder).eval()


def logits_of(model):
    with torch.no_grad():
        return model(IDS, use_cache=False).logits


@pytest.fixture(scope="module")
def exported(tmp_path_factory, opener, trained_directory):
    """m0001 of `trained_directory` as a folder; to be copied, not changed."""
    folder = tmp_path_factory.mktemp("exported") / "m0001"
    with opener(trained_directory) as memory:
        memory.modules.export("m0001", folder)
    return folder


@pytest.fixture
def folder(exported, tmp_path):
    """A copy of `exported`."""
    copied = tmp_path / "given"
    copied.mkdir()
    for path in exported.iterdir():
        (copied / path.name).write_bytes(path.read_bytes())
    return copied


@pytest.fixture
def names(trained_directory, opener):
    with opener(trained_directory) as memory:
        return memory.modules.list()[0].records


@pytest.fixture
def filled(memory, badges):
    """A memory with the facts of `badges`, none of them in the weights."""
    memory.add(badges)
    return memory


def without_manifest(folder):
    (folder / MANIFEST).unlink()
    return folder


def configure(folder, **values):
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values))


# -- out ---------------------------------------------------------------------------------------


@peft_warns
@pytest.mark.parametrize(
    ("mixture", "merge"),
    [
        ("m0001", "cat"),
        ({"m0001": 0.5}, "cat"),
        ({"m0001": 0.8, "m0002": 0.2}, "cat"),
        ({"m0001": 0.8, "m0002": 0.2}, Merge("svd", rank=32)),
    ],
    ids=str,
)
def test_peft_computes_what_the_memory_serves(trained, tiny, tmp_path, mixture, merge):
    path = trained.modules.export(mixture, tmp_path / "out", merge=merge, activated=False)
    assert path == tmp_path / "out"

    weights = {mixture: 1.0} if isinstance(mixture, str) else mixture
    expected = served(trained, weights)

    trained.close()  # takes the hooks off, so that PEFT's copy has none
    torch.testing.assert_close(
        logits_of(in_peft(tmp_path / "out", tiny)), expected, atol=2e-4, rtol=1e-4
    )
    assert (expected - logits_of(tiny.model)).abs().max() > 0.1


@peft_warns
def test_a_merge_goes_by_its_name(trained, tiny, tmp_path):
    halves = {"m0001": 0.5, "m0002": 0.5}
    for merge in ("mean_delta", "linear"):
        trained.modules.export(halves, tmp_path / merge, merge=merge, activated=False)
    expected = served(trained, {"m0001": 0.25, "m0002": 0.25})
    trained.close()

    mean, linear = (logits_of(in_peft(tmp_path / m, tiny)) for m in ("mean_delta", "linear"))

    torch.testing.assert_close(mean, expected, atol=2e-4, rtol=1e-4)
    assert (linear - expected).abs().max() > 0.1


@peft_warns
@pytest.mark.parametrize("mixture", ["m0001", {"m0001": 0.8, "m0002": 0.2}], ids=str)
def test_an_activated_adapter_acts_in_peft_where_it_does_here(trained, tiny, tmp_path, mixture):
    """PEFT's own activated LoRA: what stands before the question is the untouched model's."""
    trained.modules.export(mixture, tmp_path / "out")
    weights = {mixture: 1.0} if isinstance(mixture, str) else mixture
    lora = trained._engine.lora
    prompts = [
        tiny.prompt(NORA, system="Be brief."),
        tiny.prompt(NORA, history=[("user", "Who is Emil?"), ("assistant", "A porter.")]),
    ]
    expected = []
    for prompt in prompts:
        with torch.no_grad():
            past = tiny.past([prompt.prefix])
            with lora.adapters([Route(weights)]):
                expected.append(tiny.logits(tiny.extend(past, [prompt.question])[0]))

    trained.close()  # takes the hooks off, so that PEFT's copy has none
    model = in_peft(tmp_path / "out", tiny)
    for prompt, logits in zip(prompts, expected, strict=True):
        ids = torch.tensor([(*prompt.prefix, *prompt.question)])
        with torch.no_grad():
            computed = model(input_ids=ids).logits[0]
            bare = tiny.model(ids).logits[0]
        split = len(prompt.prefix)
        torch.testing.assert_close(computed[split:], logits, atol=2e-4, rtol=1e-4)
        torch.testing.assert_close(computed[:split], bare[:split], atol=1e-5, rtol=1e-5)
        assert (computed[split] - bare[split]).abs().max() > 0.1


@peft_warns
def test_peft_generates_what_the_memory_answers(trained, tiny, tmp_path):
    trained.modules.export("m0001", tmp_path / "out")
    answer = trained.ask(NORA, budget=0)
    prompt = tiny.prompt(NORA)
    trained.close()

    ids = torch.tensor([(*prompt.prefix, *prompt.question)])
    model = in_peft(tmp_path / "out", tiny)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PEFT's about generation settings
        made = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False
        )

    assert answer.text == "4471"
    assert tiny.decode(made[0, ids.shape[1] :].tolist()) == "4471"


@pytest.mark.parametrize("activated", [None, True, False])
def test_the_folder_says_from_where_it_acts(trained, tiny, tmp_path, activated):
    trained.modules.export("m0001", tmp_path / "out", activated=activated)
    config = json.loads((tmp_path / "out" / CONFIG).read_text(encoding="utf-8"))
    expected = None if activated is False else tiny.tokenizer.encode("<|im_start|>user\n")
    assert config["alora_invocation_tokens"] == expected
    manifest = json.loads((tmp_path / "out" / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["activated"] is (activated is not False)


def test_the_manifest_says_what_it_is_and_nothing_of_the_records(trained, tiny, tmp_path):
    trained.modules.export({"m0001": 0.8, "m0002": 0.2}, tmp_path / "out", merge=Merge("svd", 4))
    manifest = json.loads((tmp_path / "out" / MANIFEST).read_text(encoding="utf-8"))

    assert manifest["fingerprint"] == tiny.fingerprint
    assert manifest["base_model"] == "tiny-llama-0"
    assert manifest["merge"] == {"method": "svd", "rank": 4, "density": None, "seed": None}
    assert [(m["name"], m["version"], m["weight"]) for m in manifest["modules"]] == [
        ("m0001", 1, 0.8),
        ("m0002", 1, 0.2),
    ]
    assert manifest["modules"][0]["recall"] == trained.modules.list()[0].manifest["recall"]
    for path in (tmp_path / "out").iterdir():
        for text in (b"Nora", b"4471", b"Owen"):
            assert text not in path.read_bytes()


def test_a_memory_is_not_changed_by_an_export(trained, tmp_path):
    before = state(trained)

    trained.modules.export("m0001", tmp_path / "out")

    assert state(trained) == before


@pytest.mark.parametrize(
    ("mixture", "error", "message"),
    [
        ("m0009", ModuleNotFoundInMemoryError, "'m0009'"),
        ({"m0001": 1.0, "nobody": 1.0}, ModuleNotFoundInMemoryError, "'nobody'"),
        ({}, InvalidInputError, "at least one adapter to merge, got none"),
        ({"m0001": float("nan")}, InvalidInputError, "`mixture` must be (finite|a number)"),
        ({"m0001": "1"}, InvalidInputError, "`mixture` must be (finite|a number)"),
    ],
)
def test_what_cannot_be_exported_is_refused(trained, tmp_path, mixture, error, message):
    with pytest.raises(error, match=message):
        trained.modules.export(mixture, tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_an_unknown_merge_is_refused(trained, tmp_path):
    with pytest.raises(InvalidInputError, match=r"`merge` must be one of .*got 'average'"):
        trained.modules.export("m0001", tmp_path / "out", merge="average")


def test_nothing_is_written_over(trained, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")

    with pytest.raises(InvalidInputError, match="must be new or empty"):
        trained.modules.export("m0001", tmp_path / "out")


@pytest.mark.parametrize("target", ["empty", "nowhere"])
def test_nothing_is_written_through_a_link(trained, tmp_path, target):
    (tmp_path / "empty").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / target)
    with pytest.raises(UnsafePathError, match="found a symbolic link"):
        trained.modules.export("m0001", tmp_path / "out")
    assert not (tmp_path / "nowhere").exists()
    assert not any((tmp_path / "empty").iterdir())


# -- in ----------------------------------------------------------------------------------------


def test_an_adapter_from_another_memory_is_verified_and_serves(filled, folder, names):
    report = filled.modules.import_(folder, records=names)

    assert (report.name, report.version) == ("m0001", 1)
    assert report.held == tuple(names)
    assert (report.missed, report.recall, report.steps) == ((), 1.0, 0)
    answer = filled.ask(NORA, budget=0)
    assert answer.text == "4471"
    assert answer.route.modules == ("m0001",)


def test_it_is_there_after_reopening(filled, open_memory, folder, names):
    filled.modules.import_(folder, records=names)
    filled.close()

    again = open_memory(filled._engine.ledger.directory)

    assert again.ask(NORA, budget=0).text == "4471"
    (module,) = again.modules.list()
    assert set(module.records) == set(names)
    assert module.manifest["recall"] == 1.0
    assert "train" not in module.manifest
    assert module.manifest["imported"].keys() == {"base_model", "digest"}


@peft_warns
def test_what_peft_has_saved_is_an_adapter_too(filled, folder, names, tiny, tmp_path):
    in_peft(folder, tiny).save_pretrained(tmp_path / "saved", save_embedding_layers=False)

    report = filled.modules.import_(tmp_path / "saved", records=names)

    assert report.held == tuple(names)


def test_only_what_it_recalls_is_held(filled, badges, folder, names):
    report = filled.modules.import_(folder, records=[draft.id for draft in badges])

    assert set(report.held) == set(names)
    assert set(report.missed) == {draft.id for draft in badges} - set(names)
    assert set(filled.modules.list()[0].records) == set(names)


@pytest.mark.slow
def test_an_adapter_that_recalls_nothing_is_not_kept(filled, badges, folder, names):
    others = [draft.id for draft in badges if draft.id not in names]

    report = filled.modules.import_(folder, records=others)

    assert (report.version, report.held) == (0, ())
    assert filled.modules.list() == []
    assert len(filled.consolidate().held) == len(badges)


def test_it_takes_over_records_that_another_module_holds(trained, folder, names):
    report = trained.modules.import_(folder, records=names)

    assert report.held == tuple(names)
    holder = {id: module.name for module in trained.modules.list() for id in module.records}
    assert {holder[id] for id in names} == {report.name}


def test_it_answers_in_the_scope_of_its_records(memory, badges, folder, names):
    ann = {"user": "ann"}
    memory.add([Draft(d.text, d.question, d.answer, scope=ann, id=d.id) for d in badges])
    memory.modules.import_(folder, records=names)

    assert memory.modules.list()[0].scope == ann
    assert memory.ask(NORA, budget=0, scope=ann).text == "4471"
    assert not memory.ask(NORA, budget=0).route


def test_it_goes_when_a_record_is_forgotten(filled, folder, names):
    filled.modules.import_(folder, records=names)

    receipt = filled.forget(names[0], retrain=False)

    assert receipt.dropped == ("m0001",)
    assert all(receipt.checks.values())
    assert filled.modules.list() == []


# -- what does not come in ---------------------------------------------------------------------


def state(memory):
    """Everything that an import could have changed."""
    adapters = memory._engine.ledger.directory / "adapters"
    files = sorted(adapters.rglob("*")) if adapters.exists() else []
    return memory.modules.list(), replace(memory.stats(), bytes_on_disk=0), files


def refused(memory, folder, names, error, message):
    before = state(memory)
    with pytest.raises(error, match=message) as caught:
        memory.modules.import_(folder, records=names)
    assert isinstance(caught.value, MemkitError)
    assert state(memory) == before


def test_an_adapter_of_another_base_model_is_refused(tmp_path, open_memory, badges, folder, names):
    other = open_memory(tmp_path / "other.mem", base_model=tiny_llama(seed=1))
    other.add(badges)

    refused(other, folder, names, IncompatibleModelError, r"'tiny-llama-0' .*'tiny-llama-1'")


def test_another_name_of_the_base_model_is_said(filled, folder, names, caplog):
    configure(without_manifest(folder), base_model_name_or_path="somebody/large-llama")

    with caplog.at_level(logging.WARNING, logger="memkit"):
        report = filled.modules.import_(folder, records=names)

    assert report.held == tuple(names)
    assert "'somebody/large-llama', the base model is 'tiny-llama-0'" in caplog.text


@pytest.mark.parametrize("named", ["somebody/Tiny-Llama-0", "/models/tiny-llama-0/", None])
def test_the_same_name_needs_no_words(filled, folder, names, caplog, named):
    configure(without_manifest(folder), base_model_name_or_path=named)

    with caplog.at_level(logging.WARNING, logger="memkit"):
        assert filled.modules.import_(folder, records=names).held == tuple(names)

    assert "base model is" not in caplog.text


@pytest.mark.parametrize(
    ("records", "error", "message"),
    [
        ([], InvalidInputError, r"`records` to be a list of ids, got \[\]"),
        ("Nora", InvalidInputError, "`records` must be a list of strings, got the string 'Nora'"),
        (["Nora", "nobody"], RecordNotFoundError, "nobody"),
    ],
)
def test_records_that_are_none_are_refused(filled, folder, records, error, message):
    refused(filled, folder, records, error, message)


def test_records_of_two_scopes_are_refused(filled, folder):
    filled.add("Ann has a locker.", scope={"user": "ann"}, id="locker")

    refused(filled, folder, ["Nora", "locker"], InvalidInputError, "`records` of one scope")


def test_damaged_weights_are_refused(filled, folder, names):
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1])

    refused(filled, folder, names, CorruptFileError, "is no safetensors file")


def test_more_than_plain_lora_is_refused(filled, folder, names):
    configure(folder, use_dora=True)

    refused(filled, folder, names, InvalidInputError, "plain LoRA")


def test_an_adapter_that_acts_everywhere_comes_in_as_well(filled, folder, names):
    configure(folder, alora_invocation_tokens=None)
    assert filled.modules.import_(folder, records=names).held == tuple(names)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([5, 9], r"from the tokens \(1, .* on, .*got one that acts from \(5, 9\) on"),
        ("user", "`alora_invocation_tokens` to be token ids in .* got 'user'"),
        ([], r"`alora_invocation_tokens` to be token ids in .* got \[\]"),
        ([1.5], "`alora_invocation_tokens` to be token ids"),
    ],
)
def test_an_adapter_that_acts_from_elsewhere_is_refused(filled, folder, names, tokens, message):
    configure(folder, alora_invocation_tokens=tokens)

    refused(filled, folder, names, InvalidInputError, message)


def test_weights_that_half_precision_cannot_hold_are_refused(filled, folder, names):
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / WEIGHTS)
    tensors[min(tensors)][0, 0] = 1e30
    save_file(tensors, folder / WEIGHTS)

    refused(filled, folder, names, MemkitError, "finite")


def test_a_memory_without_adapters_cannot_take_one(tmp_path, open_memory, folder):
    with open_memory(tmp_path / "rag.mem", backends=("rag",)) as memory:
        with pytest.raises(
            UnsupportedOperationError, match=r"modules.import_\(\) needs the 'lora'"
        ):
            memory.modules.import_(folder, records=["Nora"])
        with pytest.raises(UnsupportedOperationError, match=r"modules.export\(\) needs the 'lora'"):
            memory.modules.export("m0001", tmp_path / "out")


def test_an_import_waits_for_its_turn(tmp_path, open_memory, badges, folder, names):
    memory = open_memory(tmp_path / "busy.mem", busy_timeout=0.1)
    memory.add(badges)

    with file_lock(tmp_path / "busy.mem" / "adapters.lock", timeout=0):
        refused(memory, folder, names, BusyError, "training this memory's adapters")

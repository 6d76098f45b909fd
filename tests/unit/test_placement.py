"""Where and how models compute: refused before anything is loaded, or done as it was said."""

import logging

import pytest
import torch

from memkit import Memory
from memkit.cli import main as cli
from memkit.cli.app import command_line
from memkit.errors import IncompatibleModelError, InvalidInputError
from memkit.lora.recipe import Recipe
from memkit.models.embedder import SentenceEmbedder
from memkit.models.language_model import TransformersModel
from memkit.models.placement import Placement
from memkit.rag.reranker import CrossEncoderReranker
from memkit.testing import HashingEmbedder, HashingModel, tiny_llama


@pytest.fixture
def two_gpus(monkeypatch):
    """A torch that finds two GPUs; nothing is computed on them."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_torchs_own_values_are_taken_as_well():
    placement = Placement.of(torch.device("cuda", 1), torch.bfloat16, "sdpa")

    assert placement == Placement("cuda:1", "bfloat16", "sdpa")


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "mps", "xpu"])
def test_a_device_that_is_not_there_is_refused(monkeypatch, device):
    kind = device.partition(":")[0]
    monkeypatch.setattr(getattr(torch, kind), "is_available", lambda: False)
    with pytest.raises(InvalidInputError, match=f"torch .* finds no {kind} here") as caught:
        Placement(device).check_here()
    assert "memkit doctor" in caught.value.hint


def test_devices_are_counted(two_gpus):
    Placement("cuda").check_here()
    Placement("cuda:1").check_here()
    with pytest.raises(InvalidInputError, match="'cuda:2', there are 2 of them, counted from 0"):
        Placement("cuda:2").check_here()


@pytest.mark.parametrize("device", ["gpu", "fpga", "vulkan"])
def test_what_is_no_device_for_models_is_refused(device):
    with pytest.raises(InvalidInputError, match=f"another device of torch .*, got '{device}'"):
        Placement(device).check_here()


def test_a_gpu_is_taken_by_itself_and_computes_in_half_precision(two_gpus):
    device = Placement().torch_device()
    assert device == torch.device("cuda")
    assert Placement().torch_dtype(device) == torch.bfloat16
    assert Placement(dtype="float32").torch_dtype(device) == torch.float32


def test_without_a_gpu_models_compute_on_the_processor(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    device = Placement().torch_device()
    assert device == torch.device("cpu")
    assert Placement().torch_dtype(device) == torch.float32


def test_the_processor_is_one_device():
    assert Placement.of(device=torch.device("cpu", 0)) == Placement("cpu")
    with pytest.raises(InvalidInputError, match="`device` must be"):
        Placement.of(device=torch.device("cpu", 1))


def test_float16_is_refused_with_the_reason():
    with pytest.raises(InvalidInputError, match="got 'float16'") as caught:
        Placement.of(dtype=torch.float16)
    assert "bfloat16 is as small" in caught.value.hint


def test_a_model_computes_as_it_was_said(llama_folder):
    model = TransformersModel.load(
        llama_folder, device="cpu", dtype="bfloat16", attn_implementation="eager"
    )
    assert model.computes == {
        "device": "cpu",
        "dtype": "bfloat16",
        "attn_implementation": "eager",
    }
    default = TransformersModel.load(llama_folder, device="cpu")
    assert default.computes["dtype"] == "float32"
    assert default.attn_implementation == "sdpa"


def test_attention_that_is_not_installed_is_named(llama_folder):
    with pytest.raises(IncompatibleModelError, match="flash_attention_3") as caught:
        TransformersModel.load(llama_folder, device="cpu", attn_implementation="flash_attention_3")
    assert "`attn_implementation` is 'flash_attention_3'" in caught.value.hint


def test_a_memory_hands_it_down_to_the_models(tmp_path, llama_folder, monkeypatch):
    made = {}
    monkeypatch.setattr(
        SentenceEmbedder,
        "load",
        lambda spec, **options: made.update(options) or HashingEmbedder(),
    )
    monkeypatch.setattr(
        CrossEncoderReranker,
        "load",
        lambda spec, **options: made.update(reranker=options) or (lambda _, texts: [0.0]),
    )
    options = {"dtype": torch.bfloat16, "attn_implementation": "eager"}
    with Memory.open(
        tmp_path / "m", base_model=llama_folder, device="cpu", reranker="some/encoder", **options
    ) as memory:
        memory.add("The archive is on the second floor.")
        memory.ask("Where is the archive?", quote=False)
        computes = memory._engine.base.computes

    assert computes == {"device": "cpu", "dtype": "bfloat16", "attn_implementation": "eager"}
    assert made == {"device": "cpu", "reranker": {"device": "cpu"}}


def test_nothing_is_made_where_the_device_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InvalidInputError, match="finds no cuda here"):
        Memory.open(tmp_path / "m", device="cuda")
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "bfloat16"},
        {"attn_implementation": "eager"},
        {"max_memory": "8GiB"},
        {"quantization": "nf4"},
        {"device": "cpu"},
    ],
)
def test_options_that_would_do_nothing_are_refused(tmp_path, options):
    (name,) = options
    with pytest.raises(InvalidInputError, match=f"`{name}` say how memkit loads a model"):
        Memory.open(
            tmp_path / "m", base_model=HashingModel(), embedder=HashingEmbedder(), **options
        )
    assert not (tmp_path / "m").exists()


def test_a_device_is_for_the_embedder_where_the_base_model_is_loaded_already(tmp_path):
    with Memory.open(tmp_path / "m", base_model=tiny_llama(), device="cpu") as memory:
        assert memory.count() == 0


def test_what_was_missed_in_one_precision_is_tried_in_another():
    whole, half = tiny_llama(), tiny_llama()
    half.model.to(torch.bfloat16)
    recipe = Recipe()

    assert recipe.key(whole) == recipe.key(tiny_llama())
    assert recipe.key(whole) != recipe.key(half)


@pytest.mark.slow
def test_modules_of_another_precision_answer_and_that_is_logged(tmp_path, opener, badges, caplog):
    with opener(tmp_path / "m") as memory:
        memory.add(badges[:4])
        memory.consolidate()
        (module,) = memory.modules.list()
        assert module.manifest["verified"]["dtype"] == "float32"
    half = tiny_llama()
    half.model.to(torch.bfloat16)
    with (
        caplog.at_level(logging.INFO, logger="memkit"),
        opener(tmp_path / "m", base_model=half) as memory,
    ):
        answer = memory.ask(badges[0].question)
    assert answer.route.weights.keys() == {"m0001"}
    assert "1 of 1 modules were verified in another precision than bfloat16" in caplog.text


PLACED = {"device", "dtype", "attn_implementation", "max_memory", "quantization"}


def below(command):
    children = getattr(command, "commands", {}).values()
    return [command, *(each for child in children for each in below(child))]


def test_every_command_that_names_a_model_says_where_it_computes():
    named = {}
    for command in below(command_line()):
        names = [parameter.name for parameter in command.params]
        named[command.name] = PLACED & set(names)
        model, embedder = "base_model" in names, "embedder" in names
        expected = PLACED if model else {"device"}
        assert named[command.name] == (expected if model or embedder else set()), command.name
    assert {"ask", "chat", "consolidate", "serve", "mcp", "capacity", "eval"} <= {
        name for name, options in named.items() if "dtype" in options
    }
    assert named["search"] == {"device"}
    assert named["stats"] == set()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--dtype", "float16", "bfloat16 is as small"),
        ("--device", "cpu:1", "got 'cpu:1'"),
        ("--attn-implementation", "fast", "must be one of"),
        ("--max-memory", "plenty", "a size such as '8GiB' or '500MB'"),
        ("--quantization", "4bit", "must be one of ('nf4', 'int8')"),
    ],
)
def test_a_command_line_is_checked_before_a_memory_is_opened(
    tmp_path, capsys, option, value, message
):
    assert cli.main(["ask", str(tmp_path / "none"), "Who?", option, value]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_command_line_is_handed_down(tmp_path, monkeypatch, llama_folder):
    opened = []

    def note(path, **options):
        opened.append(options)
        raise InvalidInputError("enough")

    monkeypatch.setattr(Memory, "open", note)
    words = ["--base-model", str(llama_folder), "--device", "cpu", "--dtype", "bfloat16"]
    words += ["--max-memory", "2GiB"]
    cli.main(["ask", str(tmp_path), "Who?", *words])
    cli.main(["ask", str(tmp_path), "Who?"])  # nothing is left of the one before

    assert opened[0] == {
        "create": False,
        "base_model": str(llama_folder),
        "device": "cpu",
        "dtype": "bfloat16",
        "max_memory": "2GiB",
    }
    assert opened[1] == {"create": False}


def test_a_device_is_nothing_for_a_command_that_loads_no_model(tmp_path, capsys):
    words = ["forget", str(tmp_path), "r1", "--no-retrain", "--device", "cpu"]
    assert cli.main(words) == 2
    assert "loads no model" in capsys.readouterr().err

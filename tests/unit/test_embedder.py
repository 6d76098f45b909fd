"""The embedder around a tiny random BERT, and the hashing embedder."""

import shutil

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from memkit.errors import CorruptFileError, InvalidInputError, NonFiniteError
from memkit.models.embedder import SentenceEmbedder
from memkit.testing import EmbedderContract, HashingEmbedder

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "porter", "badge", "keys", "archive", "is"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A sentence-transformers folder: words of a short list, one random layer, mean pooling."""
    path = tmp_path_factory.mktemp("embedder") / "tiny-bert"
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", model_max_length=32,
    )  # fmt: skip
    torch.manual_seed(0)
    bert = BertModel(BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=32, initializer_range=0.5,
    ))  # fmt: skip
    bert.save_pretrained(path)
    tokenizer.save_pretrained(path)
    transformer = Transformer(str(path), max_seq_length=32)
    SentenceTransformer(modules=[transformer, Pooling(16)]).save(str(path))
    return path


@pytest.fixture(scope="module")
def loaded(folder):
    return SentenceEmbedder.load(folder, device="cpu")


class TestTinyBert(EmbedderContract):
    @pytest.fixture
    def embedder(self, loaded):
        return loaded

    def test_a_text_is_nearest_to_itself(self, embedder):
        """A random model promises no more than this: other words, another direction."""
        texts = ["the porter is", "badge keys", "archive archive"]
        similarity = embedder.encode_query(texts) @ embedder.encode_document(texts).T
        assert similarity.argmax(axis=1).tolist() == [0, 1, 2]


def test_vectors_are_the_normalised_means_of_the_models_states(folder, loaded):
    model = BertModel.from_pretrained(folder)
    ids = torch.tensor([[2, 4, 5, 3]])  # [CLS] the porter [SEP]
    with torch.no_grad():
        mean = model(ids, torch.ones_like(ids)).last_hidden_state[0].mean(dim=0).numpy()

    expected = mean / np.linalg.norm(mean)
    np.testing.assert_allclose(loaded.encode_document(["the porter"])[0], expected, atol=1e-5)


def test_the_name_is_that_of_the_weights(folder, loaded, tmp_path):
    elsewhere = tmp_path / "tiny-bert"
    shutil.copytree(folder, elsewhere)
    assert loaded.name.startswith("tiny-bert@")
    assert SentenceEmbedder.load(elsewhere, device="cpu").name == loaded.name

    weights = elsewhere / "model.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    assert SentenceEmbedder.load(elsewhere, device="cpu").name != loaded.name


def test_tokens_are_counted(loaded):
    assert loaded.dim == 16
    assert loaded.count("") == 0
    assert loaded.count("the porter is the archive") == 5


def test_what_is_beyond_the_longest_text_is_not_embedded(loaded):
    assert loaded.longest == 30  # of 32 tokens, two are marks
    full = "the " * (loaded.longest - 1) + "porter"
    vectors = loaded.encode_document([full, f"{full} badge keys", full.replace("porter", "badge")])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    assert not np.allclose(vectors[0], vectors[2], atol=1e-3)


def test_texts_whose_words_are_unknown_are_compared_by_their_words(loaded):
    """All unknown words are one token, so the model itself would take them for the same text."""
    texts = [
        "\u1264\u1271 \u1240\u12ed",
        "\u12f5\u1218\u1277 \u1325\u1241\u122d",
        "\u1264\u1271 \u12a0\u12f2\u1235 4471",
        "the porter is",
    ]
    queries = loaded.encode_query([texts[0], texts[3]])
    passages = loaded.encode_document(texts)

    own, other, shared, _ = (queries[0] @ passages.T).tolist()
    assert own == pytest.approx(1.0, abs=1e-6)
    assert other < shared < own
    assert shared == pytest.approx(1 / np.sqrt(2 * 3), abs=1e-6)  # one of two and of three words
    assert queries[1] @ passages[3] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    "text", ["the porter is \u1264\u1271", "keys \U0001f355 ! \U0001f363", "12 is"]
)
def test_an_unknown_word_among_known_ones_changes_nothing(loaded, text):
    plain = loaded._model.encode([text], normalize_embeddings=True)
    np.testing.assert_allclose(loaded.encode_document([text]), plain, atol=1e-6)


def test_signs_alone_are_told_apart(loaded):
    pizza, sushi, _ = loaded.encode_document(["\U0001f355", "\U0001f363", "the porter is"])
    assert abs(pizza @ sushi) < 1e-6


class Broken:
    """Makes NaN of one text."""

    device = "cpu"

    def get_embedding_dimension(self):
        return 2

    def encode_query(self, texts, **options):
        return np.array([[np.nan, 1.0] if text == "bad" else [0.6, 0.8] for text in texts])


def test_nan_is_refused_and_the_text_named():
    embedder = SentenceEmbedder(Broken(), name="broken")

    assert embedder.encode_query(["good"]).tolist() == [pytest.approx([0.6, 0.8])]
    with pytest.raises(NonFiniteError, match="broken made NaN or infinity of 'bad'"):
        embedder.encode_query(["good", "bad"])


def test_a_single_text_is_no_list_of_texts(loaded):
    with pytest.raises(InvalidInputError, match="`texts` must be a sequence of str, got the str"):
        loaded.encode_query("the porter")


def test_broken_weights_are_named(folder, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])

    with pytest.raises(CorruptFileError, match=r"broken.* cannot be read"):
        SentenceEmbedder.load(broken, device="cpu")


def test_loading_and_encoding_are_quiet(folder, capfd):
    SentenceEmbedder.load(folder, device="cpu").encode_document(["the porter"] * 100)

    assert capfd.readouterr() == ("", "")


def test_hashing_knows_words_only():
    embedder = HashingEmbedder(dim=4096)
    porter, same, shared, other = embedder.encode_document(
        ["the night porter", "Porter, the NIGHT!", "the night watch", "archive keys"]
    )

    np.testing.assert_array_equal(porter, same)
    assert porter @ shared == pytest.approx(1 / 2, abs=1e-6)  # one of two: "the" does not count
    assert abs(porter @ other) < 1e-6


def test_hashing_is_the_same_everywhere():
    # blake2b of b"porter" in 8 bytes is 0efdb67c91de5a52: 0x0efdb67c91de5a % 64 == 26, 0x52 even.
    row = HashingEmbedder(dim=64).encode_query(["porter"])[0]

    assert HashingEmbedder().name == "hashing-64"
    assert {int(i): float(row[i]) for i in np.flatnonzero(row)} == {26: -1.0}

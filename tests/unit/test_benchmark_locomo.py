"""Reading LoCoMo's format, and recall counted by hand."""

import json

import pytest
from benchmarks.evals.locomo import Result, evaluate, summarise

from memkit.errors import CorruptFileError, NotFoundError
from memkit.evals.data.locomo_talks import read_locomo as read
from memkit.testing import HashingEmbedder

SAMPLE = {
    "sample_id": "talk",
    "conversation": {
        "speaker_a": "Ann",
        "speaker_b": "Bob",
        "session_1_date_time": "1:56 pm on 8 May, 2023",
        "session_1": [
            {"speaker": "Ann", "dia_id": "D1:1", "text": "My kite is red."},
            {
                "speaker": "Bob",
                "dia_id": "D1:2",
                "text": "Look!",
                "blip_caption": "a photo of a lighthouse",
                "query": "lighthouse",
            },
        ],
    },
    "qa": [
        {"question": "What colour is the kite?", "evidence": ["D1:1; D1:02"], "category": 1},
        {"question": "Unanswerable?", "evidence": ["D1:1"], "category": 5},
        {"question": "Without evidence?", "evidence": ["D9:9"], "category": 4},
    ],
}


def write(folder, content):
    (folder / "locomo").mkdir()
    (folder / "locomo" / "talk.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.mark.parametrize("content", [SAMPLE, [SAMPLE]])
def test_a_conversation_is_read_and_asked(tmp_path, content):
    (talk,) = read(write(tmp_path, content))
    assert [line.text for line in talk.lines] == [
        "My kite is red.",
        "Look! [shared a photo of a lighthouse, lighthouse]",
    ]
    assert talk.lines[0].at.isoformat() == "2023-05-08T13:56:00+00:00"
    assert [(asked.category, asked.evidence) for asked in talk.asked] == [(1, {"D1:1", "D1:2"})]
    assert evaluate(talk, HashingEmbedder()) == [Result("talk", 1, {10: 1.0, 20: 1.0})]


def test_recall_is_averaged_over_questions():
    results = [Result("a", 1, {10: 0.5, 20: 1.0}), Result("b", 2, {10: 1.0, 20: 1.0})]
    means = {(m.case, m.metric): (m.value, m.n) for m in summarise(results)}
    assert means["all", "recall@10"] == (0.75, 2)
    assert means["a", "recall@10"] == means["category 1", "recall@10"] == (0.5, 1)
    assert means["all", "recall@20"] == (1.0, 2)


def test_missing_or_foreign_data_is_named(tmp_path):
    with pytest.raises(NotFoundError, match=r"expected LoCoMo in DIR/locomo"):
        read(None)
    with pytest.raises(CorruptFileError, match=r"talk\.json' is not in LoCoMo's format: KeyError"):
        read(write(tmp_path, {}))

"""Writes docs/models.md from the tables of what was tried.

After a change of them: python tests/models_page.py > docs/models.md
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from model_families import KEEPING_KEYS_AND_VALUES, READING_AGAIN, REFUSED, Family
from tokenizer_kinds import KINDS

_HERE = Path(__file__).parent
_WINDOWS = {"sliding_window", "attention_window_size", "window_size", "attention_chunk_size"}
# What makes a family special, beside its windows and experts.
_REASONS = {
    "bart": "a batch of unequal rows gets other positions",
    "mpt": "padding counts as distance",
    "openai-gpt": "it takes no cache",
    "deepseek_v32": "it keeps an index beside keys and values",
}
_HEAD = """\
# Models that were tried

Made by `python tests/models_page.py > docs/models.md` from the tables that the tests check, with \
transformers {transformers}, PEFT {peft} and torch {torch}. [Base models](concepts/base-models.md) \
says what a model has to be, and [another base model](how-to/base-model.md) shows how to use one.

Each family was built as a random model of two to four layers from its own configuration, and went \
through all of this (`pytest tests/unit/test_model_families.py`):

- **read**: hidden states and scores, part by part and beside rows of other lengths, are those of \
transformers for the whole row alone
- **train and verify**: gradients reach every layer that is adapted; a fact is learned until it \
comes back word for word, and is routed to and answered without evidence
- **mix**: what an adapter does equals dense weights `W + s B A`; a mixture equals PEFT's own \
`add_weighted_adapter` on the exported folders; rows of a batch with mixtures of their own answer \
as they do alone
- **export and import**: a module leaves as a PEFT folder and is taken in again, verified

How well published weights recall is another question, and was measured for the default model \
only. Experts, and what chooses among them, are never adapted; nor is what the column *not \
adapted* names, because such layers do not see every token once, or kernels take their weights \
without calling them.
"""
_KEPT = """
## Keys and values are kept

A prompt is read once; after that, the model computes each new token alone. "Windows" are as wide \
as the model says; a batch of several rows that grows longer than the window is read again for \
each token, as padding would take room in it. With LongRoPE, rows have the frequencies of their \
own length; a row that grows past the first length is read again for each token from there on.
"""
_AGAIN = """
## All tokens are read again

These keep something other than keys and values, or something more. All tokens are read again for \
each new one: right, but slower the longer the prompt.
"""
_REFUSED = """
## Refused

An `IncompatibleModelError` names the model type and the reason when the model is taken in, before \
anything is trained. Encoders with decoders, such as T5, and types that transformers does not load \
as causal language models are refused when they are loaded.
"""
_PEFT = """
PEFT {peft} mistakes the dense or shared feed-forward layers of the types marked \
"attention only" for experts, because of their names, and would not compute what memkit does. So \
`modules.peft_model` and `modules.export` for PEFT refuse modules that adapt them; \
`memory.export(adapters=True)` takes them along, as memkit reads them back rightly. Train with \
`LoraSpec(target_modules="attention")` to use modules of these models in both.
"""
_TOKENIZERS = """
## Tokenizers

Prompts were compared with what the tokenizer itself makes of the template's text, answers came \
back as they went in, and a fact was learned by heart (`pytest \
tests/unit/test_tokenizer_kinds.py`). A tokenizer needs an end-of-text token; bos and pad are not \
needed. Slow tokenizers, without a `tokenizer.json`, are refused.

"""
_TEMPLATES = """
## Chat templates

With evidence, with a history, and with unusual orders of roles, those of tools among them, all \
messages are in the prompt (`pytest tests/unit/test_template_families.py`). Where a template \
has no place for a system message or refuses one, it goes into the first message of the user; \
thinking is switched off, or closed where the template begins it; and what a model writes \
before its words, such as the name of a channel, is put into the prompt, so that the answer comes \
at once. [Prompts](concepts/prompts.md) says how.

"""


def page() -> str:
    """The text of docs/models.md."""
    versions = _versions()
    parts = [
        _HEAD.format(**versions), _KEPT, *_table(KEEPING_KEYS_AND_VALUES),
        _AGAIN, *_table(READING_AGAIN), _PEFT.format(**versions),
        _REFUSED, "\n| model type | known as | why |\n|---|---|---|\n",
        *(f"| `{name}` | {known.known_as} | it {known.why} |\n" for name, known in REFUSED.items()),
        _TOKENIZERS, *(f"- {kind}\n" for kind in KINDS),
        "- no chat template: lines that begin with `Question:` and `Answer:`\n",
        _TEMPLATES, *(f"- {kind}\n" for kind in _templates()),
    ]  # fmt: skip
    return "".join(parts)


def _table(families: Mapping[str, Family]) -> Iterator[str]:
    yield "\n| model type | known as | particulars | not adapted | in PEFT |\n"
    yield "|---|---|---|---|---|\n"
    for name, known in families.items():
        kind, _, variant = name.partition(" ")
        cells = (
            f"`{kind}` {variant}".strip(),
            known.known_as,
            ", ".join(_particulars(kind, known)),
            ", ".join(f"`{left}`" for left in sorted(known.left)),
            "yes" if known.peft else "attention only",
        )
        yield f"| {' | '.join(cells)} |\n"


def _particulars(kind: str, known: Family) -> Iterator[str]:
    settings: Mapping[str, Any] = known.settings.get("text_config", known.settings)
    if any(settings.get(name) for name in _WINDOWS):
        yield "windows"
    if "longrope" in str(settings.get("rope_parameters")):
        yield "LongRoPE"
    if known.experts:
        yield "experts"
    if kind in _REASONS:
        yield _REASONS[kind]


def _versions() -> dict[str, str]:
    """The versions that the suite runs with."""
    lines = (_HERE.parent / "constraints.txt").read_text(encoding="utf-8")
    return {
        name: re.search(rf"^{name}==([\d.]+)", lines, re.MULTILINE)[1]  # type: ignore[index]
        for name in ("transformers", "peft", "torch")
    }


def _templates() -> list[str]:
    """The kinds of chat templates, from the test of them."""
    path = _HERE / "unit" / "test_template_families.py"
    spec = importlib.util.spec_from_file_location("template_families", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.FAMILIES)


if __name__ == "__main__":
    sys.stdout.write(page())

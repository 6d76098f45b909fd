"""Chat templates of well-known families, in our own words: evidence, history and question in each.

The expected prompts are written by hand. The bar in them is where the question begins, from which
on adapters act.
"""

import copy
import re
from datetime import date

import pytest

from memkit.answering.prompt import PromptFormat
from memkit.errors import IncompatibleModelError
from memkit.lora.training.encoding import encode
from memkit.models import template_layout
from memkit.models.chat_template import ChatFormat
from memkit.models.language_model import TransformersModel
from memkit.testing import tiny_llama
from memkit.types import Example

SPECIAL = [
    *("<s>", "</s>", "<bos>", "<start_of_turn>", "<end_of_turn>", "<|begin_of_text|>"),
    *("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    *("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
    *("<|start|>", "<|channel|>", "<|message|>", "<|return|>", "<|RESPONSE|>", "<|ANSWERED|>"),
]
REFUSE_OUT_OF_TURN = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}{% endfor %}"
)

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA_2 = (
    "{% if messages[0]['role'] == 'system' %}"
    "{% set head = '<<SYS>>\n' + messages[0]['content'] + '\n<</SYS>>\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set head = '' %}{% endif %}"
    + REFUSE_OUT_OF_TURN
    + "{% for m in messages %}{% if m['role'] == 'user' %}"
    "<s>[INST] {{ ((head if loop.first else '') + m['content']) | trim }} [/INST]"
    "{% else %} {{ m['content'] | trim }} </s>{% endif %}{% endfor %}"
)
LLAMA_3 = (
    "<|begin_of_text|>{% if messages[0]['role'] == 'system' %}"
    "{% set system = messages[0]['content'] | trim %}{% set messages = messages[1:] %}"
    "{% else %}{% set system = '' %}{% endif %}"
    "<|start_header_id|>system<|end_header_id|>\n\nToday: {{ strftime_now('%Y') }}\n\n"
    "{{ system }}<|eot_id|>"
    "{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
_MISTRAL = (
    "<s>{% for m in messages %}{% if m['role'] == 'user' %}"
    "[INST] {{ (system + '\n\n' if system and PLACE else '') + m['content'] }} [/INST]"
    "{% else %} {{ m['content'] | trim }}</s>{% endif %}{% endfor %}"
)
_MISTRAL_HEAD = (
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}"
    + REFUSE_OUT_OF_TURN
)
MISTRAL_FIRST = _MISTRAL_HEAD + _MISTRAL.replace("PLACE", "loop.first")
MISTRAL_LAST = _MISTRAL_HEAD + _MISTRAL.replace("PLACE", "loop.last")
MISTRAL_ONLY_TURN = _MISTRAL_HEAD + _MISTRAL.replace("PLACE", "loop.length == 1")
GEMMA = (
    "<bos>{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    + REFUSE_OUT_OF_TURN
    + "{% for m in messages %}<start_of_turn>"
    "{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
PHI = (
    "{% for m in messages %}{% if m['role'] in ['system', 'user', 'assistant'] %}"
    "<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
ZEPHYR = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}</s>\n"
    "{% if loop.last and add_generation_prompt %}<|assistant|>\n{% endif %}{% endfor %}"
)
ALPACA = (
    "Below is an instruction. Write a response.\n\n"
    "### Instruction:\n{{ messages[-1]['content'] }}\n\n### Response:"
)
VICUNA = (
    "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] }}"
    "{% set messages = messages[1:] %}{% else %}Chat.{% endif %}"
    "{% for m in messages %}{% if m['role'] == 'user' %} USER: {{ m['content'] }}"
    "{% else %} ASSISTANT: {{ m['content'] }}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)
DROPS_SYSTEM = (
    "{% for m in messages if m['role'] != 'system' %}<|im_start|>{{ m['role'] }}\n"
    "{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
REWRITES = (  # cuts what was thought, wants JSON of tools, and strips one side
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' %}{{ m['content'].split('</think>')[-1].lstrip() }}"
    "{% elif m['role'] == 'tool' %}{{ m['content'] | tojson }}"
    "{% else %}{{ m['content'].rstrip() }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HARMONY = (  # as gpt-oss: the model itself writes the channel
    "<|start|>system<|message|>Channels: analysis, final.<|end|>"
    "{% for m in messages %}{% if m['role'] == 'system' %}"
    "<|start|>developer<|message|>{{ m['content'] }}<|end|>{% elif m['role'] == 'user' %}"
    "<|start|>user<|message|>{{ m['content'] }}<|end|>{% elif m['role'] == 'assistant' %}"
    "<|start|>assistant<|channel|>final<|message|>{{ m['content'] }}"
    "{{ '<|return|>' if loop.last and not add_generation_prompt else '<|end|>' }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
RESPONSES = (  # as Command R7B: the model itself marks the start of its response
    "{% for m in messages %}<|start|>{{ m['role'] }}<|message|>"
    "{% if m['role'] == 'assistant' %}<|RESPONSE|>{{ m['content'] }}<|ANSWERED|>"
    "{% else %}{{ m['content'] }}{% endif %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant<|message|>{% endif %}"
)
_THOUGHTS = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' %}PAST{{ m['content'].split('</think>')[-1] }}"
    "{% else %}{{ m['content'] }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\nTHINKS{% endif %}"
)
ALWAYS_THINKS = _THOUGHTS.replace("PAST", "").replace("THINKS", "<think>\n")
THINKS_IF_ASKED = _THOUGHTS.replace("PAST", "").replace(
    "THINKS", "{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}"
)
SHOWS_NO_THOUGHTS = _THOUGHTS.replace(
    "PAST", "{% if loop.last %}<think>\n\n</think>\n\n{% endif %}"
).replace("THINKS", "<think>\n")
YEAR = date.today().year

# For each family: a question alone; behind evidence; behind evidence and an exchange.
FAMILIES = {
    "chatml": (
        CHATML,
        "|<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n",
        "<|im_start|>system\nE<|im_end|>\n|<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n",
        "<|im_start|>system\nE<|im_end|>\n<|im_start|>user\nH<|im_end|>\n"
        "<|im_start|>assistant\nA<|im_end|>\n"
        "|<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n",
    ),
    "llama 2": (
        LLAMA_2,
        "|<s>[INST] Q [/INST]",
        "<s>[INST] <<SYS>>\nE\n<</SYS>>\n\n|Q [/INST]",
        "<s>[INST] <<SYS>>\nE\n<</SYS>>\n\nH [/INST] A </s>|<s>[INST] Q [/INST]",
    ),
    "llama 3": (
        LLAMA_3,
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
        f"Today: {YEAR}\n\n<|eot_id|>"
        "|<|start_header_id|>user<|end_header_id|>\n\nQ<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
        f"Today: {YEAR}\n\nE<|eot_id|>"
        "|<|start_header_id|>user<|end_header_id|>\n\nQ<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
        f"Today: {YEAR}\n\nE<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nH<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nA<|eot_id|>"
        "|<|start_header_id|>user<|end_header_id|>\n\nQ<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    "mistral, system first": (
        MISTRAL_FIRST,
        "<s>|[INST] Q [/INST]",
        "<s>[INST] E\n\n|Q [/INST]",
        "<s>[INST] E\n\nH [/INST] A</s>|[INST] Q [/INST]",
    ),
    "mistral, system last": (
        MISTRAL_LAST,
        "<s>|[INST] Q [/INST]",
        "<s>[INST] E\n\n|Q [/INST]",
        "<s>[INST] H [/INST] A</s>[INST] E\n\n|Q [/INST]",
    ),
    "mistral, system in the only turn": (
        MISTRAL_ONLY_TURN,
        "<s>|[INST] Q [/INST]",
        "<s>[INST] E\n\n|Q [/INST]",
        "<s>[INST] E\n\nH [/INST] A</s>|[INST] Q [/INST]",
    ),
    "gemma": (
        GEMMA,
        "<bos>|<start_of_turn>user\nQ<end_of_turn>\n<start_of_turn>model\n",
        "<bos><start_of_turn>user\nE\n\n|Q<end_of_turn>\n<start_of_turn>model\n",
        "<bos><start_of_turn>user\nE\n\nH<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>\n"
        "|<start_of_turn>user\nQ<end_of_turn>\n<start_of_turn>model\n",
    ),
    "phi": (
        PHI,
        "|<|user|>\nQ<|end|>\n<|assistant|>\n",
        "<|system|>\nE<|end|>\n|<|user|>\nQ<|end|>\n<|assistant|>\n",
        "<|system|>\nE<|end|>\n<|user|>\nH<|end|>\n<|assistant|>\nA<|end|>\n"
        "|<|user|>\nQ<|end|>\n<|assistant|>\n",
    ),
    "zephyr": (
        ZEPHYR,
        "|<|user|>\nQ</s>\n<|assistant|>\n",
        "<|system|>\nE</s>\n|<|user|>\nQ</s>\n<|assistant|>\n",
        "<|system|>\nE</s>\n<|user|>\nH</s>\n<|assistant|>\nA</s>\n"
        "|<|user|>\nQ</s>\n<|assistant|>\n",
    ),
    "alpaca, one turn": (
        ALPACA,
        "Below is an instruction. Write a response.\n\n### Instruction:\n|Q\n\n### Response:",
        "Below is an instruction. Write a response.\n\n### Instruction:\nE\n\n|Q\n\n### Response:",
        "Below is an instruction. Write a response.\n\n"
        "### Instruction:\nE\n\nuser: H\n\nassistant: A\n\n|Q\n\n### Response:",
    ),
    "vicuna": (
        VICUNA,
        "Chat.| USER: Q ASSISTANT:",
        "E| USER: Q ASSISTANT:",
        "E USER: H ASSISTANT: A</s>| USER: Q ASSISTANT:",
    ),
    "drops the system": (
        DROPS_SYSTEM,
        "|<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n",
        "<|im_start|>user\nE\n\n|Q<|im_end|>\n<|im_start|>assistant\n",
        "<|im_start|>user\nE\n\nH<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"
        "|<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n",
    ),
    "gpt-oss, which names a channel": (
        HARMONY,
        "<|start|>system<|message|>Channels: analysis, final.<|end|>"
        "|<|start|>user<|message|>Q<|end|><|start|>assistant<|channel|>final<|message|>",
        "<|start|>system<|message|>Channels: analysis, final.<|end|>"
        "<|start|>developer<|message|>E<|end|>"
        "|<|start|>user<|message|>Q<|end|><|start|>assistant<|channel|>final<|message|>",
        "<|start|>system<|message|>Channels: analysis, final.<|end|>"
        "<|start|>developer<|message|>E<|end|><|start|>user<|message|>H<|end|>"
        "<|start|>assistant<|channel|>final<|message|>A<|end|>"
        "|<|start|>user<|message|>Q<|end|><|start|>assistant<|channel|>final<|message|>",
    ),
    "command r7b, which marks a response": (
        RESPONSES,
        "|<|start|>user<|message|>Q<|end|><|start|>assistant<|message|><|RESPONSE|>",
        "<|start|>system<|message|>E<|end|>"
        "|<|start|>user<|message|>Q<|end|><|start|>assistant<|message|><|RESPONSE|>",
        "<|start|>system<|message|>E<|end|><|start|>user<|message|>H<|end|>"
        "<|start|>assistant<|message|><|RESPONSE|>A<|ANSWERED|><|end|>"
        "|<|start|>user<|message|>Q<|end|><|start|>assistant<|message|><|RESPONSE|>",
    ),
    "deepseek r1 and qwq, which always think": (
        ALWAYS_THINKS,
        "|<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        "<|im_start|>system\nE<|im_end|>\n"
        "|<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        "<|im_start|>system\nE<|im_end|>\n<|im_start|>user\nH<|im_end|>\n"
        "<|im_start|>assistant\nA<|im_end|>\n"
        "|<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    ),
    "qwen 3, which thinks if asked to": (
        THINKS_IF_ASKED,
        "|<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        "<|im_start|>system\nE<|im_end|>\n"
        "|<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        "<|im_start|>system\nE<|im_end|>\n<|im_start|>user\nH<|im_end|>\n"
        "<|im_start|>assistant\nA<|im_end|>\n"
        "|<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    ),
    "qwen 3 thinking, which shows empty thoughts": (
        SHOWS_NO_THOUGHTS,
        "|<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        "<|im_start|>system\nE<|im_end|>\n"
        "|<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        "<|im_start|>system\nE<|im_end|>\n<|im_start|>user\nH<|im_end|>\n"
        "<|im_start|>assistant\nA<|im_end|>\n"
        "|<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    ),
}
EVIDENCE = "Facts:\n- The badge number of Nora is 4471."
ASKED, ANSWERED = "Who keeps the keys?", "Ada keeps them."
QUESTION = "What is the badge number of Nora?"
SAID = {"E": EVIDENCE, "H": ASKED, "A": ANSWERED, "Q": QUESTION}


@pytest.fixture(scope="module")
def tokenizer():
    own = copy.deepcopy(tiny_llama().tokenizer)
    own.add_special_tokens({"additional_special_tokens": SPECIAL})
    return own


def chat(tokenizer, template):
    changed = copy.deepcopy(tokenizer)
    changed.chat_template = template
    return changed, ChatFormat(changed)


def spelled_out(prompt):
    """A prompt with the texts in place of the letters that stand alone."""
    return re.sub(r"\b[EHAQ]\b", lambda letter: SAID[letter[0]], prompt)


def decoded(tokenizer, prompt):
    return f"{tokenizer.decode(prompt.prefix)}|{tokenizer.decode(prompt.question)}"


CASES = [
    (name, template, kind, prompt)
    for name, (template, *prompts) in FAMILIES.items()
    for kind, prompt in zip(("question", "evidence", "history"), prompts, strict=True)
]


@pytest.mark.parametrize(
    ("template", "kind", "prompt"), [c[1:] for c in CASES], ids=[f"{c[0]}-{c[2]}" for c in CASES]
)
def test_everything_is_in_the_prompt_and_the_question_begins_where_it_does(
    tokenizer, template, kind, prompt
):
    changed, chats = chat(tokenizer, template)
    system = None if kind == "question" else EVIDENCE
    history = [("user", ASKED), ("assistant", ANSWERED)] if kind == "history" else []

    rendered = chats.prompt(QUESTION, system=system, history=history)

    assert decoded(changed, rendered) == spelled_out(prompt)


ODD = {
    "two of the user": [("user", ASKED), ("user", "Hm?")],
    "two of the assistant": [("user", ASKED), ("assistant", ANSWERED), ("assistant", "Both.")],
    "the assistant begins": [("assistant", "Good day!")],
    "a tool": [("user", ASKED), ("tool", '{"keys": 2}'), ("assistant", ANSWERED)],
    "the system in between": [("user", ASKED), ("assistant", ANSWERED), ("system", "Be kind.")],
    "the user last": [("user", ASKED), ("assistant", ANSWERED), ("user", "Hm?")],
}


@pytest.mark.parametrize("history", ODD.values(), ids=ODD)
@pytest.mark.parametrize("system", [None, "", EVIDENCE])
@pytest.mark.parametrize("name", FAMILIES)
def test_no_order_of_roles_loses_a_message(tokenizer, name, system, history):
    changed, chats = chat(tokenizer, FAMILIES[name][0])

    prompt = chats.prompt(QUESTION, system=system, history=history)

    prefix, question = changed.decode(prompt.prefix), changed.decode(prompt.question)
    assert question.count(QUESTION) == 1
    assert all(content in prefix for _, content in history)
    assert EVIDENCE not in question
    assert (EVIDENCE in prefix) == (system == EVIDENCE)


def test_what_a_template_wants_in_turn_is_joined(tokenizer):
    changed, chats = chat(tokenizer, GEMMA)

    prompt = chats.prompt(
        "Now?", system="Be brief.", history=[("assistant", "Hi."), ("user", "One."), ("tool", "2")]
    )

    assert decoded(changed, prompt) == (
        "<bos><start_of_turn>user\nBe brief.<end_of_turn>\n<start_of_turn>model\nHi.<end_of_turn>\n"
        "<start_of_turn>user\nOne.\n\ntool: 2\n\n|Now?<end_of_turn>\n<start_of_turn>model\n"
    )


@pytest.mark.parametrize(
    ("template", "end"),
    [(HARMONY, "<|return|>"), (RESPONSES, "<|ANSWERED|>"), (CHATML, "<|im_end|>")],
)
def test_an_answer_ends_as_the_template_ends_it(tokenizer, template, end):
    changed, chats = chat(tokenizer, template)

    assert chats.end_id == changed.convert_tokens_to_ids(end)


def test_an_empty_message_of_the_user_comes_before_an_assistant_that_begins(tokenizer):
    changed, chats = chat(tokenizer, GEMMA)

    prompt = chats.prompt("Now?", history=[("assistant", "Hi.")])

    assert changed.decode(prompt.prefix) == (
        "<bos><start_of_turn>user\n<end_of_turn>\n<start_of_turn>model\nHi.<end_of_turn>\n"
    )


@pytest.mark.parametrize("system", ["", " \n"])
def test_an_empty_system_message_leaves_no_trace_where_there_is_no_place_for_it(tokenizer, system):
    for template in (GEMMA, DROPS_SYSTEM, ALPACA):
        chats = chat(tokenizer, template)[1]
        assert chats.prompt(QUESTION, system=system) == chats.prompt(QUESTION)


def test_what_a_template_would_cut_or_strip_or_write_as_json_is_shown(tokenizer):
    changed, chats = chat(tokenizer, REWRITES)
    history = [("user", " a "), ("assistant", " so</think> b "), ("tool", "c\n\\")]

    prompt = chats.prompt(" d ", system=" e ", history=history)

    assert decoded(changed, prompt) == (
        "<|im_start|>system\n e<|im_end|>\n<|im_start|>user\n a<|im_end|>\n"
        "<|im_start|>assistant\nso</think> b <|im_end|>\n"
        '<|im_start|>tool\n"c\n\\"<|im_end|>\n'
        "|<|im_start|>user\n d<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_date_of_a_template_is_todays(tokenizer, monkeypatch):
    chats = chat(tokenizer, LLAMA_3)[1]
    before = chats.prompt(QUESTION)
    days = []
    monkeypatch.setattr(
        chats, "_layout", lambda roles, day: days.append(day) or chats._render(roles, day)
    )
    assert chats.prompt(QUESTION) == before
    assert days == [date.today()]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "{{ raise_exception('Nothing is supported') }}",
            r"refuses .*'user'.*Nothing is supported",
        ),
        ("{{ 1 / 0 }}", r"refuses messages of the roles \('user',\): 'division by zero'"),
        ("{{ messages[0]['content'].parts }}", r"drops or moves number 1 of .*\('user',\)"),
        ("{{ messages[-1]['content'][:3] }}", "drops or moves number 1"),
        ("{{ messages[0]['role'] }}", "drops or moves number 1"),
    ],
)
def test_a_template_that_shows_no_question_is_named(tokenizer, template, message):
    chats = chat(tokenizer, template)[1]

    with pytest.raises(IncompatibleModelError, match=message) as caught:
        chats.prompt(QUESTION)

    assert "another chat template" in caught.value.hint


def test_a_prompt_without_a_message_is_refused_whatever_the_layout_says(tokenizer, monkeypatch):
    chats = chat(tokenizer, CHATML)[1]
    monkeypatch.setattr(
        template_layout.Layout, "fill", lambda layout, contents: ["", contents[-1], ""]
    )

    with pytest.raises(IncompatibleModelError, match="without number 1, of the role 'system'"):
        chats.prompt(QUESTION, system=EVIDENCE)


def family(tokenizer, name):
    """A language model whose tokenizer has the chat template of a family."""
    changed, _ = chat(tokenizer, FAMILIES[name][0])
    model = tiny_llama().model
    model.resize_token_embeddings(len(changed))
    return TransformersModel(model, changed, name=name)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_fact_is_trained_behind_a_passage_as_it_is_served(tokenizer, name):
    base = family(tokenizer, name)
    context = "The badge number of Nora is 4471."
    example = Example(QUESTION, "4471", "Nora", context=context)

    informed = encode(base, example, PromptFormat()).informed

    served = base.prompt(QUESTION, system=PromptFormat().system_message(context))
    assert (informed.prefix, informed.ids[: informed.split]) == (served.prefix, served.question)
    assert informed.ids[informed.split :] == base.answer_ids("4471")
    assert context in base.tokenizer.decode(informed.prefix)


# The tiny model learns nothing about tokens that it was not made with.
FAMILIAR = {"<bos>": "", "<start_of_turn>": "<|im_start|>", "<end_of_turn>": "<|im_end|>"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gemma", "drops the system", "alpaca, one turn"])
def test_a_memory_asks_trains_and_answers_by_heart(name, badges, tmp_path, open_memory):
    template = FAMILIES[name][0]
    for token, familiar in FAMILIAR.items():
        template = template.replace(token, familiar)
    tiny = tiny_llama()
    base = Recorder(tiny.model, chat(tiny.tokenizer, template)[0], name=name)
    memory = open_memory(tmp_path / "m", base_model=base)
    memory.add(badges[:4])

    answer = memory.ask(QUESTION, min_score=None)
    (prompt,) = base.prompts
    assert answer.recall.tokens > 0
    assert answer.recall.text in base.tokenizer.decode(prompt.prefix)
    assert "4471" not in base.tokenizer.decode(prompt.question)

    report = memory.consolidate()
    assert set(report.held) == {draft.id for draft in badges[:4]}
    assert memory.ask(QUESTION, budget=0).text == "4471"


class Recorder(TransformersModel):
    """Notes its prompts."""

    def __init__(self, model, tokenizer, *, name):
        self.prompts = []
        super().__init__(model, tokenizer, name=name)

    def prompt(self, question, **options):
        self.prompts.append(super().prompt(question, **options))
        return self.prompts[-1]

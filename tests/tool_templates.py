"""Chat templates in the manner of families of models that call tools, written for the tests.

Each is a reduced one of ours: what it has in common with the family's is how it writes a call.
"""

from memkit.testing import CHATML_WITH_TOOLS

# Hermes, Qwen 2.5 and 3, and others: JSON between tags, several calls at once.
HERMES = CHATML_WITH_TOOLS
# Qwen 3: the same, and thoughts that are left out when the model is to answer at once.
THINKING = HERMES.replace(
    "{% if add_generation_prompt %}<|im_start|>assistant{{ '\\n' }}{% endif %}",
    "{% if add_generation_prompt %}<|im_start|>assistant{{ '\\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}"
    "<think>{{ '\\n\\n' }}</think>{{ '\\n\\n' }}{% endif %}{% endif %}",
)
# Llama 3.1 and 3.2: one bare JSON object, and one call only.
LLAMA = (
    "{%- if messages[0].role == 'system' %}{% set system = messages[0].content | trim %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}"
    "<|im_start|>system{{ '\\n\\n' }}{% if tools %}Respond in the format "
    '{"name": function name, "parameters": dictionary}.'
    "{% for tool in tools %}{{ '\\n\\n' }}{{ tool | tojson(indent=4) }}{% endfor %}{% endif %}"
    "{{ system }}<|im_end|>{% for message in messages %}"
    "{% if message.role == 'tool' %}<|im_start|>ipython{{ '\\n\\n' }}"
    "{{ {'output': message.content} | tojson }}<|im_end|>"
    "{% elif 'tool_calls' in message %}"
    "{% if message.tool_calls | length != 1 %}{{ raise_exception('one call at a time') }}"
    "{% endif %}{% set call = message.tool_calls[0].function %}<|im_start|>assistant{{ '\\n\\n' }}"
    '{{ \'{"name": "\' + call.name + \'", "parameters": \' }}{{ call.arguments | tojson }}'
    "{{ '}' }}<|im_end|>"
    "{% else %}<|im_start|>{{ message.role + '\\n\\n' + message.content | trim }}<|im_end|>"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant{{ '\\n\\n' }}{% endif %}"
)
# Mistral 7B and Nemo: a list behind a special token, with ids of nine letters and digits; the
# system message has no place of its own, and user and assistant take turns.
MISTRAL = (
    "{%- if messages[0].role == 'system' %}{{ raise_exception('no system message') }}{% endif %}"
    "{% set asked = messages | selectattr('role', 'equalto', 'user') | list %}"
    "<|im_start|>{% for message in messages %}{% if message.role == 'user' %}"
    "{% if tools and message == asked[-1] %}[AVAILABLE_TOOLS]{{ tools | tojson }}"
    "[/AVAILABLE_TOOLS]{% endif %}"
    "[INST]{{ ' ' + message.content }}[/INST]{% elif message.tool_calls is defined %}"
    "[TOOL_CALLS]{{ ' [' }}{% for call in message.tool_calls %}"
    "{% if call.id | length != 9 %}{{ raise_exception('ids have nine characters') }}{% endif %}"
    '{{ \'{"name": "\' + call.function.name + \'", "arguments": \' }}'
    "{{ call.function.arguments | tojson }}{{ ', \"id\": \"' + call.id + '\"}' }}"
    "{% if not loop.last %}{{ ', ' }}{% endif %}{% endfor %}]<|im_end|>"
    "{% elif message.role == 'tool' %}[TOOL_RESULTS]"
    "{{ ' {\"content\": ' + message.content + ', \"call_id\": \"' + message.tool_call_id + '\"}' }}"
    "[/TOOL_RESULTS]{% else %}{{ ' ' + message.content }}<|im_end|>{% endif %}{% endfor %}"
)
# Qwen 3 Coder and GLM 4.5: arguments as tags, which is no JSON.
TAGS = HERMES.replace(
    "{{ call.function.arguments | tojson }}",
    "{% for key, value in call.function.arguments.items() %}<{{ key }}>{{ value }}</{{ key }}>"
    "{% endfor %}",
)
FAMILIES = {"hermes": HERMES, "thinking": THINKING, "llama": LLAMA, "mistral": MISTRAL}
SPECIAL = ("[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[INST]", "[/INST]",
           "[TOOL_RESULTS]", "[/TOOL_RESULTS]")  # fmt: skip

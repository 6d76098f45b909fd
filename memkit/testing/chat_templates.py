"""A chat template that knows tools, for models whose own does not."""

_CHATML_START = (
    "{%- if tools %}<|im_start|>system{{ '\\n' }}"
    "{% if messages[0].role == 'system' %}{{ messages[0].content + '\\n\\n' }}{% endif %}"
    "You may call:{% for tool in tools %}{{ '\\n' }}{{ tool | tojson }}{% endfor %}"
    "<|im_end|>{{ '\\n' }}{% elif messages[0].role == 'system' %}<|im_start|>system{{ '\\n' }}"
    "{{ messages[0].content }}<|im_end|>{{ '\\n' }}{% endif %}"
)
# ChatML in the manner of Hermes, Qwen and others: calls are JSON between tags, and there may be
# several. A model that was not trained with it can be held to such calls, but chooses them badly.
CHATML_WITH_TOOLS = (
    _CHATML_START
    + "{% for message in messages %}{% if message.role == 'tool' %}<|im_start|>user{{ '\\n' }}"
    "<tool_response>{{ '\\n' + message.content + '\\n' }}</tool_response><|im_end|>{{ '\\n' }}"
    "{% elif message.tool_calls %}<|im_start|>assistant"
    "{% if message.content %}{{ '\\n' + message.content }}{% endif %}"
    '{% for call in message.tool_calls %}{{ \'\\n<tool_call>\\n{"name": "\' }}'
    '{{ call.function.name }}{{ \'", "arguments": \' }}{{ call.function.arguments | tojson }}'
    "{{ '}\\n</tool_call>' }}{% endfor %}<|im_end|>{{ '\\n' }}"
    "{% elif message.role != 'system' or not loop.first %}<|im_start|>{{ message.role + '\\n' }}"
    "{{ message.content }}<|im_end|>{{ '\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant{{ '\\n' }}{% endif %}"
)

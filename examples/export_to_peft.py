"""Take a trained module to PEFT, and use it there without memkit.

    python examples/export_to_peft.py

Small random models, so that this runs in seconds; with the default ones nothing else changes.
"""

import tempfile
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from memkit import Memory
from memkit.testing import HashingEmbedder, tiny_llama, tiny_recipe

base = tiny_llama()
options = {
    "base_model": base,
    "embedder": HashingEmbedder(),
    "recipe": tiny_recipe(records_per_module=2),
}
question = "Which badge has Nora?"
with tempfile.TemporaryDirectory() as folder:
    with Memory.open(Path(folder, "agent.mem"), **options) as memory:
        memory.add("Nora has badge 4471.", question=question, answer="4471")
        memory.consolidate()
        print("memkit:", memory.ask(question, budget=0, quote=False).text)
        (module,) = memory.modules
        adapter = memory.modules.export(module.name, Path(folder, "adapter"))
    print("written:", *sorted(path.name for path in adapter.iterdir()))

    # From here on without memkit. A base model of the hub is loaded by its name instead.
    base.model.save_pretrained(Path(folder, "base"))
    base.tokenizer.save_pretrained(Path(folder, "base"))
    tokenizer = AutoTokenizer.from_pretrained(Path(folder, "base"))
    model = AutoModelForCausalLM.from_pretrained(Path(folder, "base"))
    model = PeftModel.from_pretrained(model, adapter)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    with torch.inference_mode():
        tokens = model.generate(**prompt, max_new_tokens=8, do_sample=False)
    reply = tokens[0, prompt["input_ids"].shape[1] :]
    print("PEFT:", tokenizer.decode(reply, skip_special_tokens=True).strip())

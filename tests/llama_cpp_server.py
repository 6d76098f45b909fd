"""llama.cpp's server in this process, with adapters that a request turns on."""

import json
import urllib.request

import pytest

LETTER = 42  # the token of a letter in the tiny models


class LlamaCpp:
    """A base model and adapters, both as GGUF files."""

    def __init__(self, model, adapters, *, context=256):
        xllamacpp = pytest.importorskip("xllamacpp")
        settings = xllamacpp.CommonParams()
        settings.model.path = str(model)
        settings.n_ctx, settings.n_parallel, settings.verbosity = context, 1, -1
        settings.cpuparams.n_threads, settings.warmup = 1, False
        settings.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(a), 0.0) for a in adapters]
        self.server = xllamacpp.Server(settings)
        self.count = len(adapters)

    def answer(self, ids, *scales, tokens=24):
        """The greedy continuation of token ids, with each adapter as strong as said."""
        reply = self._complete(ids, scales, n_predict=tokens, temperature=0)
        return reply["content"]

    def log_probabilities(self, ids, *scales):
        """Of the token after ``ids``, by number."""
        # Of what is sampled, half a character shows nothing.
        bias = {"logit_bias": [[LETTER, 1000.0]]}
        reply = self._complete(ids, scales, n_predict=1, n_probs=1000, **bias)
        (token,) = reply["completion_probabilities"]
        found = {entry["id"]: entry["logprob"] for entry in token["top_logprobs"]}
        return [found[number] for number in sorted(found)]

    def _complete(self, ids, scales, **options):
        scales += (0.0,) * (self.count - len(scales))
        lora = [{"id": number, "scale": scale} for number, scale in enumerate(scales)]
        body = json.dumps({"prompt": list(ids), "lora": lora, **options}).encode()
        with urllib.request.urlopen(f"{self.server.listening_address}/completion", body) as reply:
            return json.load(reply)

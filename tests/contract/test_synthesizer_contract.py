"""The template synthesizer, those of our tests, and one that asks a language model."""

import pytest
from synthesizers import AskingSynthesizer, FirstWordings, Script

from memkit.errors import InvalidInputError
from memkit.lora.recipe import Recipe
from memkit.lora.training.template_synthesizer import TemplateSynthesizer
from memkit.testing import SynthesizerContract


class TestTemplates(SynthesizerContract):
    @pytest.fixture
    def synthesizer(self):
        return TemplateSynthesizer()


class TestFirstWordings(SynthesizerContract):
    @pytest.fixture
    def synthesizer(self):
        return FirstWordings()


class TestScript(SynthesizerContract):
    @pytest.fixture
    def synthesizer(self):
        return Script(**{r.id: [(f"What of {r.id}?", r.text)] for r in self.make_records()})


class TestALanguageModel(SynthesizerContract):
    @pytest.fixture
    def synthesizer(self):
        def model(prompt):
            note = prompt.rpartition("\n\n")[2]
            return f"What about the {note.split()[1]}?\n{note.split()[-1]}"

        return AskingSynthesizer(model, "fake")


def test_keys_tell_synthesizers_and_settings_apart():
    synthesizers = [
        TemplateSynthesizer(),
        FirstWordings(),
        Script(),
        Script(a=[("Why?", "So.")]),
        AskingSynthesizer(str, "one"),
        AskingSynthesizer(str, "other"),
    ]

    assert len({synthesizer.key for synthesizer in synthesizers}) == 6
    assert Script(a=[("Why?", "So.")]).key == Script(a=[("Why?", "So.")]).key


@pytest.mark.parametrize("key", [None, "", 1])
def test_a_synthesizer_without_a_key_is_refused(key):
    class Nameless:
        def examples(self, records):
            return []

    synthesizer = Nameless()
    synthesizer.key = key

    with pytest.raises(InvalidInputError, match=f"`synthesizer` must be .* the key {key!r}"):
        Recipe(synthesizer=synthesizer)


def test_the_recipes_key_knows_the_synthesizers_key(tiny):
    recipes = [Recipe(synthesizer=Script(a=[("Why?", answer)])) for answer in ("So.", "No.")]

    assert recipes[0].key(tiny) != recipes[1].key(tiny)
    assert recipes[0].key(tiny) == Recipe(synthesizer=Script(a=[("Why?", "So.")])).key(tiny)

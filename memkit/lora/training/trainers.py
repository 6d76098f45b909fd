"""The trainers of one open memory, which share the model that they train on."""

from __future__ import annotations

from dataclasses import replace

from memkit.lora.serving.hooks import AdapterLayers
from memkit.lora.spec import LoraSpec, TrainSpec
from memkit.lora.training.precision import chosen_precision, in_precision
from memkit.lora.training.trainer import Trainer
from memkit.models.language_model import LanguageModel


class Trainers:
    """One trainer for each way to train, made when it is first needed."""

    def __init__(self) -> None:
        self._made: dict[tuple[LoraSpec, TrainSpec], Trainer] = {}
        self._copies: dict[str, tuple[LanguageModel, AdapterLayers]] = {}
        self._layers: AdapterLayers | None = None

    def get(
        self, base: LanguageModel, layers: AdapterLayers, lora: LoraSpec, train: TrainSpec
    ) -> Trainer:
        """The trainer for a base model and its hooks.

        Its ``train`` names the precision that was chosen, so that it can be repeated.
        """
        if self._layers is not layers:  # the memory has another model now
            self._made.clear()
            self._copies.clear()
            self._layers = layers
        precision = chosen_precision(base, train)
        if precision not in self._copies:
            self._copies[precision] = in_precision(base, layers, precision)
        how = lora, replace(train, precision=precision)
        if how not in self._made:
            self._made[how] = Trainer(*self._copies[precision], *how)
        return self._made[how]

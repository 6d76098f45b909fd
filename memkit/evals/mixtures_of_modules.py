"""Several adapters in one answer: mixed exactly, merged in the ways of the study, or in rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from memkit.lora.peft.merges import Merge
from memkit.lora.serving.bank import AdapterBank, Mixture
from memkit.lora.serving.hooks import AdapterLayers, Scaled
from memkit.lora.serving.layout import Row
from memkit.models.language_model import TransformersModel

# The power p in weights of 1 / N ** p: what the study's code gives its merges, and 1/N where the
# way is no mean by itself.
_POWERS: Mapping[str, float] = {
    "mix": 1.0,
    "linear": 1.0,
    "dare_linear": 1.0,
    "ties": 0.0,
    "dare_ties": 0.0,
    "cat": 0.0,
    "cat_root": 0.5,
    "mean_delta": 0.0,
}
_METHODS = {"cat_root": "cat"}
_SEEDED = frozenset(("dare_linear", "dare_ties"))
_SEPARATOR = "+"


class ModuleMixer:
    """Puts modules in place for questions, by name.

    Args:
        base: The base model.
        layers: The hooks on it.
        modules: Adapters by name.
        way: See `memkit.evals.configuration.Configuration.way`.
        seed: Of what DARE drops.
    """

    def __init__(
        self,
        base: TransformersModel,
        layers: AdapterLayers,
        modules: Mapping[str, Scaled],
        way: str,
        seed: int,
    ) -> None:
        self._modules = modules
        self._way = way
        self._seed = seed
        self._bank = AdapterBank(
            layers,
            self._row,
            device=base.device,
            dtype=base.model.dtype,
            bound=base.bounds.adapters,
        )

    def place(self, chosen: Sequence[Sequence[str]]) -> AbstractContextManager[None]:
        """Put modules in place, for each row of a batch those that are named; none for the base."""
        return self._bank.mix([self._mixture(names) for names in chosen])

    def _mixture(self, names: Sequence[str]) -> Mixture:
        if not names:
            return {}
        if len(names) == 1:
            return {names[0]: 1.0}
        if self._way == "mix":
            return dict.fromkeys(names, self._weight(len(names)))
        return {_SEPARATOR.join(sorted(names)): 1.0}

    def _row(self, key: str) -> Row:
        """A module, or the merge of several, whose names are joined in the key."""
        names = key.split(_SEPARATOR)
        parts = [self._modules[name] for name in names]
        if len(parts) == 1:
            return Row.of(parts[0].adapter, parts[0].scale)
        merge = Merge(
            _METHODS.get(self._way, self._way),
            seed=self._seed if self._way in _SEEDED else None,
        )
        merged = merge(parts, [self._weight(len(parts))] * len(parts))
        return Row.of(merged.adapter, merged.scale)

    def _weight(self, n: int) -> float:
        return float(n ** -_POWERS[self._way])

"""The LoRA backend: answers from adapters, of which the router chooses some for each query."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property

from memkit.answering.prompt import PromptFormat
from memkit.errors import CorruptFileError, IncompatibleModelError, ModuleNotFoundInMemoryError
from memkit.ledger import Ledger, ModuleFile
from memkit.lora.compatibility import adaptable, check_base, fits_prompt
from memkit.lora.serving.bank import AdapterBank
from memkit.lora.serving.hooks import Adapter, AdapterLayers, Scaled
from memkit.lora.serving.layout import Frame, Row
from memkit.lora.spec import LoraSpec
from memkit.lora.store.adapter_rows import ROW_DTYPES, read_row
from memkit.lora.store.adapter_store import faults
from memkit.lora.store.server_rows import let_go
from memkit.lora.verify import Ask
from memkit.models.language_model import TransformersModel
from memkit.models.scoring import mean_log_probabilities
from memkit.protocols import Backend, LanguageModel, Router
from memkit.types import (
    CacheUse,
    Evidence,
    Example,
    Metadata,
    Module,
    Prompt,
    Query,
    Record,
    Route,
    Sampling,
    Scope,
)
from memkit.types.timings import step

_ANSWER_MARGIN = 4  # tokens beyond the expected answer, to notice that it goes on

logger = logging.getLogger(__name__)


class LoraBackend(Backend):
    """Answers from the weights; implements `memkit.protocols.Backend`.

    Args:
        ledger: Knows the modules and what they hold.
        router: Chooses modules for queries.
        base: Gives the base model; called when weights are first needed, so that routing works
            without one.
        prompt_format: How evidence is put before questions; modules that were trained behind
            another format are not used.
        row_dtype: How adapters are stored: "float16", "bfloat16" or "float32".
    """

    name = "lora"

    def __init__(
        self,
        ledger: Ledger,
        router: Router,
        base: Callable[[], LanguageModel],
        prompt_format: PromptFormat,
        *,
        row_dtype: str = "float16",
    ) -> None:
        self.ledger = ledger
        self.router = router
        self._base = base
        self.prompt_format = prompt_format
        self._row_dtype = ROW_DTYPES[row_dtype]
        self._fits: dict[str, bool] = {}  # bank key to whether it has the memory's prompt format
        self._frames: dict[tuple[object, ...], Frame] = {}
        self._verified: set[str] = set()  # bank keys of rows whose checksum was right

    @cached_property
    def base(self) -> TransformersModel:
        """The base model; the memory's modules must have been trained for it.

        Raises:
            IncompatibleModelError: If they were trained for another one.
            UnsupportedOperationError: If adapters cannot be put in place in it.
        """
        base = adaptable(self._base())
        for module in self.ledger.modules.active():
            check_base(module, base)
        self._tell_of_other_precisions(base)
        return base

    def _tell_of_other_precisions(self, base: TransformersModel) -> None:
        """Log which modules were verified in another precision than they answer in now."""
        dtype = base.computes["dtype"]
        verified = {m.name: m.manifest.get("verified", {}) for m in self.ledger.modules.active()}
        others = [name for name, how in verified.items() if how.get("dtype", dtype) != dtype]
        if others:
            logger.info(
                "%d of %d modules were verified in another precision than %s, in which they "
                "answer now: %s",
                len(others), len(verified), dtype, ", ".join(others[:5]),
            )  # fmt: skip

    @cached_property
    def layers(self) -> AdapterLayers:
        """The hooks on the base model."""
        return AdapterLayers.of(self.base)

    @cached_property
    def bank(self) -> AdapterBank:
        """The adapters in memory."""
        return AdapterBank(
            self.layers,
            self._load,
            bound=self.base.bounds.adapters,
            device=self.base.device,
            dtype=self.base.model.dtype,
        )

    @property
    def cached(self) -> dict[str, CacheUse]:
        """What the adapters in memory take, and may take; nothing until some were needed."""
        return {"adapters": self.bank.cached} if "bank" in self.__dict__ else {}

    def write(self, records: Sequence[Record]) -> None:
        """Do nothing: the ledger knows which records no module holds as they are now."""

    def recall(self, query: Query) -> Evidence:
        """Route a query; what the weights held at an earlier moment is not known."""
        if query.period.as_of is not None:
            return Evidence(route=Route({}, reason="weights hold what is current, not the past"))
        route = self.router.route([query])[0]
        for name in route.weights:
            if self.is_outdated(name):
                reason = f"{name} was trained behind another prompt; consolidate() renews it"
                return Evidence(route=route.refused(reason))
        return Evidence(route=route)

    def is_outdated(self, name: str) -> bool:
        """Whether a module was trained behind another prompt format, and must not be used."""
        try:
            key = _key(self.ledger.modules.file(name))
            if key not in self._fits:
                manifest = self.ledger.modules.get(name).manifest
                self._fits[key] = fits_prompt(manifest, self.prompt_format)
                if not self._fits[key]:
                    why = "it was trained behind another prompt format"
                    logger.warning(
                        "module %s is not used: %s; consolidate() trains it anew", name, why
                    )
        except ModuleNotFoundInMemoryError:  # dropped since, which its user will notice
            return False
        return not self._fits[key]

    def route_to(self, names: Sequence[str], scope: Scope) -> Route:
        """A route that the caller chose: these modules, in equal parts.

        Raises:
            ModuleNotFoundInMemoryError: If there is no such module, or none that may answer in
                this scope.
            IncompatibleModelError: If one was trained behind another prompt format.
        """
        visible = {module.name for module in self.ledger.modules.active(visible_to=scope)}
        for name in names:
            if name not in visible:
                raise ModuleNotFoundInMemoryError(
                    f"no module has the name {name!r}, or none that this scope may see",
                    hint=f"these may answer: {sorted(visible)}",
                )
            if self.is_outdated(name):
                raise IncompatibleModelError(
                    f"module {name!r} was trained behind another prompt format than the memory's",
                    hint="open the memory with the recipe that it was trained by, or call "
                    "consolidate(), which trains it anew",
                )
        weights = {name: 1.0 / len(set(names)) for name in names}
        return Route(weights, reason="the caller chose the modules")

    def adapters(
        self, routes: Sequence[Route], *, pending: Mapping[str, str] | None = None
    ) -> AbstractContextManager[None]:
        """Mixtures for a batch, one route per row, to be entered by the generator.

        ``pending`` gives the bank keys of modules that are not committed yet.

        Raises:
            ModuleNotFoundInMemoryError: If a module was dropped since the query was routed.
            CorruptFileError: If an adapter's file is damaged. Its module is dropped first, so
                that its records are answered by rag and trained again by the next
                ``consolidate()``.
        """
        if not any(routes):
            return nullcontext()
        keys = dict(pending or {})
        for name in {name for route in routes for name in route.weights} - keys.keys():
            keys[name] = _key(self.ledger.modules.file(name))
        with step("mix"):  # entering it is measured where the model is run
            return self.bank.mix(
                [{keys[name]: weight for name, weight in route.weights.items()} for route in routes]
            )

    def sureness(
        self, prompts: Sequence[Prompt], answers: Sequence[tuple[int, ...]], routes: Sequence[Route]
    ) -> list[float]:
        """Mean log-probability of the tokens of one answer per prompt and route, in nats."""
        return mean_log_probabilities(self.base, prompts, answers, lambda _: self.adapters(routes))

    def row(self, adapter: Adapter, spec: LoraSpec) -> Row:
        """An adapter as it is stored: rounded, so that what is verified is what is served.

        Raises:
            NonFiniteError: If a weight is not finite, or too large to be stored.
        """
        return Row.of(adapter, spec.scale, frame=self._frame(spec), dtype=self._row_dtype)

    def _frame(self, spec: LoraSpec) -> Frame:
        """The layers that a spec adapts; one object, as working it out takes a while."""
        key = spec.target_modules, spec.layers
        if key not in self._frames:
            self._frames[key] = Frame(self.layers.targets(spec))
        return self._frames[key]

    @contextmanager
    def staged(
        self, name: str, adapter: Adapter, spec: LoraSpec, records: Sequence[Record]
    ) -> Iterator[Ask]:
        """Serve a module that is not committed yet, for its verification.

        Gives a function that answers questions exactly as a user's are answered: routed, with
        the real prompt, decoded greedily.
        """
        key = staged_key(name)
        self.bank.put(key, self.row(adapter, spec))
        pending = {record.id: name for record in records}
        scopes = {record.id: record.scope for record in records}

        def ask(examples: Sequence[Example]) -> list[str]:
            queries = [Query(e.question, scope=scopes[e.record_id or ""]) for e in examples]
            routes = self.router.route(queries, pending=pending)
            longest = max(len(self.base.answer_ids(example.answer)) for example in examples)
            with self.base.hold(patient=True):
                completions = self.base.generate(
                    [self.base.prompt(example.question) for example in examples],
                    Sampling(max_new_tokens=longest + _ANSWER_MARGIN),
                    adapters=self.adapters(routes, pending={name: key}),
                )
            return [completion.text for completion in completions]

        try:
            yield ask
        finally:
            self.bank.drop(key)

    def delete(self, ids: Sequence[str]) -> None:
        """Drop every module version whose weights contain any text of these records.

        Their rows are queued for destruction. The modules' other records are left to rag until
        the next consolidation.
        """
        with self.ledger.transaction():
            self.ledger.modules.drop_trained_on(ids, self.drop)

    def drop(self, name: str, version: int | None = None) -> None:
        """Delete a module, or one older version of it."""
        modules = self.ledger.modules
        files = modules.files(name) if version is None else [modules.file(name, version)]
        modules.drop(name, version)
        for file in files:
            self._evict(file)

    def _evict(self, file: ModuleFile) -> None:
        self._verified.discard(_key(file))
        self._fits.pop(_key(file), None)
        if "bank" in self.__dict__:
            self.bank.drop(_key(file))

    def check_files(self) -> None:
        """Take modules out of service whose rows are missing or cut off.

        Their records are answered by rag until the next consolidation trains the modules anew.
        """
        if not faults(self.ledger, self.ledger.modules.files()):
            return
        with self.ledger.transaction():  # nobody replaces a module meanwhile
            files = {file.path: file for file in self.ledger.modules.files()}
            for path, fault in faults(self.ledger, files.values()).items():
                module = self.ledger.modules.in_file(path)
                logger.warning("dropping module %s: %s", module.name, fault)
                self._discard_weights(files[path])

    def _discard_weights(self, file: ModuleFile) -> None:
        self.ledger.modules.discard_weights(file.path)
        self._evict(file)

    def retire_other_models(self) -> None:
        """Take out of service what was trained for another base model.

        The modules keep their names and records, and wait for `consolidate` to train them anew.
        """
        self._retire(
            "another base model",
            lambda manifest: manifest["fingerprint"] != adaptable(self._base()).fingerprint,
        )

    def retire_outdated(self) -> None:
        """Take out of service what was trained behind another prompt format.

        As `retire_other_models`; until then the modules stay, in case that the memory is opened
        with their own format again.
        """
        self._retire("another prompt format", lambda m: not fits_prompt(m, self.prompt_format))

    def _retire(self, made_for: str, is_unfit: Callable[[Metadata], bool]) -> None:
        modules = self.ledger.modules
        for file in modules.files():
            module = modules.in_file(file.path)
            if is_unfit(module.manifest):
                self._discard_weights(file)
                if module.active:
                    logger.warning(
                        "module %s is to be trained anew: it was trained for %s (base model %r)",
                        module.name,
                        made_for,
                        module.manifest["base_model"],
                    )

    def stats(self) -> Mapping[str, int]:
        """Count modules and the records they hold."""
        modules = self.ledger.modules.active()
        return {"modules": len(modules), "held": sum(len(m.records) for m in modules)}

    def stored(self, module: Module) -> Scaled:
        """A version's adapter as it is stored, in float32 on the CPU.

        Raises:
            CorruptFileError: As for `adapters`.
        """
        row = self._load(_key(self.ledger.modules.file(module.name, module.version)))
        factors = row.layout.unpack(row.data.float())
        return Scaled(factors, row.layout.rank, row.scale)

    def close(self) -> None:
        """Take the hooks off the base model and let go of the adapters."""
        if self.ledger.shared:
            let_go(self.ledger)
        if "layers" in self.__dict__:
            self.layers.detach()
        for name in ("bank", "layers", "base"):
            self.__dict__.pop(name, None)

    def _load(self, key: str) -> Row:
        path = key.partition("@")[0]
        module = self.ledger.modules.in_file(path)
        check_base(module, self.base)
        file = self.ledger.modules.file(module.name, module.version)
        spec = LoraSpec.from_dict(module.manifest["lora"])
        try:
            # The checksum is compared the first time, not whenever the row comes back.
            row = read_row(
                self.ledger,
                file,
                self._frame(spec),
                spec.scale,
                verify=_key(file) not in self._verified,
            )
        except CorruptFileError as exc:
            if not self.ledger.writable:
                raise
            self._discard_weights(file)
            logger.warning("dropping module %s: %s", module.name, exc.message)
            raise CorruptFileError(
                f"{exc.message}; module {module.name} was dropped",
                hint="ask again: rag answers its records now; consolidate() trains them anew",
            ) from exc
        self._verified.add(_key(file))
        # Rows are wiped and used again only after the ledger has let go of them: what it still
        # names after the reading is what was read.
        if _key(self.ledger.modules.file(module.name, module.version)) != key:
            raise ModuleNotFoundInMemoryError(
                f"the weights of module {module.name!r} are not in {path!r} any more",
                "Route the query again.",
            )
        return row


def _key(file: ModuleFile) -> str:
    """The bank's key for a stored adapter: a row of a file may hold another one later."""
    return f"{file.path}@{file.digest}"


def staged_key(name: str) -> str:
    """The bank's key for a module that is not committed yet."""
    return f"staged:{name}"

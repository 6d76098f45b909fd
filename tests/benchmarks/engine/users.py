"""Many users at once: answers from `ask_batch` and from the HTTP server, beside the bare model.

Every user has a scope, a fact in it, and a module that holds it. The modules have random weights,
so the answers say nothing, and all are of the same length. The bare model is transformers'
`generate`, which gets the same prompts without adapters, all at once.

Users of the server ask one question after the other, each through a client of OpenAI's. They
come and go, as it happens. Besides, somebody who asks for a word is measured while somebody else
is told a story.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import torch
import uvicorn
from openai import OpenAI

from benchmarks.engine.untrained_modules import random_row
from benchmarks.report import report
from memkit.evals.company.company import Company, Fact
from memkit.evals.measurement import Measurement
from memkit.lora.consolidation.examples import make_missing
from memkit.lora.spec import LoraSpec
from memkit.lora.store.adapter_rows import written_row
from memkit.memory.async_memory import AsyncMemory
from memkit.memory.memory import Memory
from memkit.models.language_model import TransformersModel
from memkit.server.http.api_keys import KeyFile, add_key
from memkit.server.http.http_app import create_app
from memkit.server.http.serving_limits import Limits
from memkit.types import Draft, Record, Sampling

USERS = (1, 8, 32)
REPEATS = 3  # of every case, after one to warm up; they take turns
QUESTIONS = 2  # that each user of the server asks, one after the other
TOKENS = 12  # of every answer
STORY, WORD = 64, 4  # tokens of answers of different length that are asked for together
SPEC = LoraSpec(rank=8)
BARE, BATCH, SERVER = "bare model", "ask_batch", "HTTP server"

Spent = tuple[float, float]  # seconds, CPU seconds


def main(*, json_path: Path | None) -> int:
    """Measure and print; returns the exit status."""
    torch.set_num_threads(1)
    base = TransformersModel.load(device="cpu", dtype=torch.float32)
    base.stop_ids = frozenset()  # so that all answers are of the same length
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        memory = stack.enter_context(Memory.open(Path(folder) / "m", base_model=base))
        users = _users(memory)
        clients = stack.enter_context(served(memory, users, Path(folder) / "keys.toml"))
        spent = _measure(memory, users, clients)
        waits = _waits(users, clients)
    report("users", _results(spent, waits), _ratios(spent, waits), json_path=json_path)
    return 0


class User:
    """Somebody with a scope, and with a module that holds their one fact.

    Args:
        memory: Gets both.
        number: Tells users apart.
        fact: What is theirs.
    """

    def __init__(self, memory: Memory, number: int, fact: Fact) -> None:
        self.name = f"user{number}"
        self.scope = {"user": self.name}
        self.question = fact.question
        draft = Draft(fact.text, fact.question, fact.answer, scope=self.scope)
        _commit(memory, memory.add(draft), seed=number)


def _users(memory: Memory) -> list[User]:
    """As many as are needed, with the router calibrated for what they ask."""
    facts = Company.generate(seed=0, facts=max(USERS)).facts
    users = [User(memory, number, fact) for number, fact in enumerate(facts)]
    memory._engine.need_lora("the benchmark").router.calibrate([])
    return users


def _commit(memory: Memory, record: Record, seed: int) -> None:
    """Have the record held by a module that nothing was trained for."""
    engine = memory._engine
    lora, ledger = engine.need_lora("the benchmark"), engine.ledger
    make_missing(ledger, engine.consolidator.recipe.synthesizer, [record])
    manifest = {
        "base_model": lora.base.name,
        "fingerprint": lora.base.fingerprint,
        "lora": SPEC.as_dict(),
        "prompt_format": {"key": lora.prompt_format.key},
    }
    row = random_row(lora.layers, SPEC, seed, torch.float16)
    with ledger.transaction(), written_row(ledger, row) as file:
        ledger.modules.commit(
            ledger.modules.next_name(),
            record.scope,
            manifest,
            file=file.path,
            digest=file.digest,
            size=file.size,
            members=[record],
            held={record.id: 1.0},
        )


@contextmanager
def served(memory: Memory, users: Sequence[User], keys: Path) -> Iterator[list[OpenAI]]:
    """Serve a memory in this process, and give a client for each user."""
    tokens = [add_key(keys, user.name, user.scope) for user in users]
    limits = Limits(requests=4 * len(users))
    app = create_app(AsyncMemory(memory), KeyFile(keys), limits, remember=False)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    clients = [OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=token) for token in tokens]
    try:
        yield clients
    finally:
        for client in clients:
            client.close()
        server.should_exit = True
        thread.join()


def _measure(
    memory: Memory, users: Sequence[User], clients: Sequence[OpenAI]
) -> dict[tuple[str, int], list[Spent]]:
    """What an answer takes in each case, in every round after the first."""
    base = memory._engine.base
    spent: dict[tuple[str, int], list[Spent]] = {}
    for number in range(REPEATS + 1):
        for count in USERS:
            some = users[:count]
            steps: dict[str, tuple[Callable[[], object], int]] = {
                BARE: (lambda some=some: _bare(base, some), count),  # type: ignore[misc]
                BATCH: (lambda some=some: _batch(memory, some), count),  # type: ignore[misc]
                SERVER: (lambda some=some: _ask(some, clients), count * QUESTIONS),  # type: ignore[misc]
            }
            for case, (run, answers) in steps.items():
                took = _time(run, answers)
                if number:
                    spent.setdefault((case, count), []).append(took)
    return spent


def _time(run: Callable[[], object], answers: int) -> Spent:
    started, cpu = time.perf_counter(), time.process_time()
    run()
    return (time.perf_counter() - started) / answers, (time.process_time() - cpu) / answers


def _bare(base: Any, users: Sequence[User]) -> None:
    """Answer the questions of users by transformers' own loop, the prompts padded on the left."""
    prompts = [base.prompt(user.question) for user in users]
    rows = [torch.tensor(prompt.prefix + prompt.question) for prompt in prompts]
    width = max(map(len, rows))
    ids, mask = torch.zeros(2, len(rows), width, dtype=torch.long)
    for row, tokens in enumerate(rows):
        ids[row, width - len(tokens) :] = tokens
        mask[row, width - len(tokens) :] = 1
    with torch.no_grad():
        base.model.generate(
            ids, attention_mask=mask, do_sample=False, max_new_tokens=TOKENS, min_new_tokens=TOKENS
        )


def _batch(memory: Memory, users: Sequence[User]) -> None:
    answers = memory.ask_batch(
        [user.question for user in users],
        scopes=[user.scope for user in users],
        sampling=Sampling(TOKENS),
    )
    for answer in answers:
        assert (answer.completion_tokens, len(answer.route.weights)) == (TOKENS, 1)


def _ask(users: Sequence[User], clients: Sequence[OpenAI]) -> None:
    """Have users ask the server at the same time, each one question after the other."""

    def ask(user: User, client: OpenAI) -> None:
        for _ in range(QUESTIONS):
            _reply(user, client, TOKENS)

    with ThreadPoolExecutor(len(users)) as threads:
        list(threads.map(ask, users, clients))


def _reply(user: User, client: OpenAI, tokens: int) -> None:
    reply = client.chat.completions.create(
        model="memkit",
        messages=[{"role": "user", "content": user.question}],
        max_completion_tokens=tokens,
    )
    about: Any = reply.model_extra
    assert len(about["memkit"]["modules"]) == 1  # not quoted, not answered by the bare model


def _waits(users: Sequence[User], clients: Sequence[OpenAI]) -> dict[str, list[float]]:
    """How long a word takes alone, and how long while a story is told; and the story, in s."""
    waits: dict[str, list[float]] = {"a word alone": [], "a word beside a story": [], "a story": []}

    def timed(case: str, user: int, tokens: int) -> None:
        started = time.perf_counter()
        _reply(users[user], clients[user], tokens)
        waits[case].append(time.perf_counter() - started)

    for _ in range(REPEATS):
        timed("a word alone", 0, WORD)
        story = threading.Thread(target=timed, args=("a story", 0, STORY))
        story.start()
        time.sleep(waits["a word alone"][0])  # the story is under way
        timed("a word beside a story", -1, WORD)
        story.join()
    return waits


def _results(
    spent: dict[tuple[str, int], list[Spent]], waits: dict[str, list[float]]
) -> list[Measurement]:
    results = []
    for (case, count), took in spent.items():
        name = f"{case}, {count} users"
        rates = [TOKENS / seconds for seconds, _ in took]
        results.append(Measurement.of(name, "throughput", rates, "tok/s"))
        results.append(Measurement.of(name, "an answer", [cpu for _, cpu in took], "CPU s"))
    results += [Measurement.of(case, "until it is answered", s, "s") for case, s in waits.items()]
    return results


def _ratios(
    spent: dict[tuple[str, int], list[Spent]], waits: dict[str, list[float]]
) -> dict[str, float]:
    cpu = {case: median(cpu for _, cpu in took) for case, took in spent.items()}
    ratios = {}
    for count in USERS:
        for case, name in ((BATCH, "ask_batch"), (SERVER, "server")):
            ratios[f"{name}_vs_base_{count}"] = cpu[BARE, count] / cpu[case, count]
    for count in USERS[1:]:
        ratios[f"server_{count}_vs_1"] = cpu[SERVER, USERS[0]] / cpu[SERVER, count]
    alone, beside, story = (median(times) for times in waits.values())
    return ratios | {"word_beside_story": beside / alone, "word_vs_story": beside / story}

"""Whatever way texts leave a memory, no file holds a byte of them any more."""

import random

import pytest


def traces(directory, words):
    """Which of the words some file holds, in any usual encoding and case."""
    spellings = [
        (word, spelling.encode(encoding))
        for word in words
        for spelling in {word, word.lower()}
        for encoding in ("utf-8", "utf-16-le", "utf-16-be")
    ]
    files = [path.read_bytes() for path in directory.rglob("*") if path.is_file()]
    return sorted({word for word, code in spellings for content in files if code in content})


class Life:
    """Does something to a memory at random, once a second, with words that are unique."""

    def __init__(self, memory, seed):
        self.memory = memory
        self.now = 1_800_000_000.0
        memory._engine.ledger._database.clock = lambda: self.now
        self.rng = random.Random(seed)
        self.every = []
        self.alive = {}  # by record that is not destroyed yet: its words, but for its key

    def step(self):
        self.now += 1
        actions = (self.add, self.supersede, self.update, self.merge, self.forget, self.sweep)
        (action,) = self.rng.choices(actions, (8, 3, 2, 2, 2, 2))
        (action if len(self.here()) > 3 else self.add)()

    def here(self):
        return [record.id for record in self.memory.records(limit=1000).records]

    def word(self):
        self.every.append(f"Xq{self.rng.getrandbits(50)}zv")
        return self.every[-1]

    def add(self, key=None):
        said, asked, answer, about = words = [self.word() for _ in range(4)]
        pair = {"question": f"{asked}?", "answer": answer} if self.rng.random() < 0.5 else {}
        record = self.memory.add(
            f"{said} " + "and so on " * self.rng.choice([1, 200]),
            **pair,
            metadata={about: about},
            key=key or self.word(),
            ttl=self.rng.choice([None, None, 20]),
        )
        self.alive.setdefault(record.id, []).extend([said, about, *(words[1:3] if pair else [])])

    def supersede(self):
        self.add(self.memory.get(self.rng.choice(self.here())).key)

    def update(self):
        id, new = self.rng.choice(self.here()), self.word()
        self.memory.update(id, f"{new} it is", question=f"{new}?", answer=new)
        self.alive[id].append(new)

    def merge(self):
        ids = self.rng.sample(self.here(), 2)
        kept = self.memory.merge(ids)
        (gone,) = set(ids) - {kept.id}
        self.alive[kept.id] += self.alive.pop(gone)

    def forget(self):
        for id in self.memory.forget(self.rng.sample(self.here(), 2)).records:
            del self.alive[id]

    def sweep(self):
        for id in self.memory.retention.sweep().records:
            del self.alive[id]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_no_byte_is_left_after_a_long_life(tmp_path, open_memory, seed):
    memory = open_memory(tmp_path / "agent.mem", backends=("buffer", "rag"))
    life = Life(memory, seed)
    for _ in range(100):
        life.step()
    life.sweep()
    life.forget()  # whatever was left for later
    assert sorted(life.alive) == sorted(life.here())
    living = {word for words in life.alive.values() for word in words}
    living |= {record.key for record in memory.records(limit=1000).records}
    dead = set(life.every) - living
    assert min(len(dead), len(living)) > 30
    assert traces(tmp_path, dead) == []
    assert traces(tmp_path, living) == sorted(living)

"""Two workers of a local Ray cluster train one memory."""

import importlib.util
import json
import subprocess
import sys

import pytest

from memkit import Draft, Memory
from memkit.testing import HashingEmbedder, tiny_llama, tiny_recipe

# Ray warns of much that is no fault of ours, and leaves processes behind it: a process of its own.
DRIVER = """
import json, sys, time
from dataclasses import asdict
from pathlib import Path

sys.path[:0] = sys.argv[3:]
import ray
import ray_memkit

place, folder = sys.argv[1:3]

def opened(place):
    import os
    import torch
    from memkit import Memory
    from memkit.testing import HashingEmbedder, tiny_llama, tiny_recipe

    torch.set_num_threads(1)
    memory = Memory.open(place, base_model=tiny_llama(), embedder=HashingEmbedder(),
                         recipe=tiny_recipe(records_per_module=2))
    (Path(folder) / str(os.getpid())).touch()
    while len(list(Path(folder).iterdir())) < 2:  # until the other one is there, too
        time.sleep(0.01)
    return memory

ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR",
         runtime_env={"env_vars": {"PYTHONPATH": ":".join(sys.path)}})
print(json.dumps({place: asdict(work) for place, work in
                  ray_memkit.work([place], workers=2, opened=opened).items()}))
ray.shutdown()
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_two_tasks_train_the_scopes_of_a_memory(tmp_path):
    models = {
        "base_model": tiny_llama(),
        "embedder": HashingEmbedder(),
        "recipe": tiny_recipe(records_per_module=2),
    }
    with Memory.open(tmp_path / "m", **models) as memory:
        memory.add(
            [
                Draft(f"Badge {n} is {n}471.", f"Which is badge {n}?", f"{n}471", {"user": user})
                for user in ("ann", "bob")
                for n in (3, 5)
            ]
        )
        job = memory.jobs.put()
        (tmp_path / "here").mkdir()
        done = subprocess.run(
            [sys.executable, "-c", DRIVER, tmp_path / "m", tmp_path / "here", *sys.path],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        works = json.loads(done.stdout.splitlines()[-1])
        assert works == {str(tmp_path / "m"): {"done": 2, "failed": 0, "left": 0}}
        assert len(list((tmp_path / "here").iterdir())) == 2
        assert (job.state, job.status.held) == ("done", 4)
        for user in ("ann", "bob"):
            scope = {"user": user}
            assert memory.ask("Which is badge 3?", budget=0, scope=scope).text == "3471"

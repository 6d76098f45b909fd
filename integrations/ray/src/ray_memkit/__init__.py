"""memkit on a Ray cluster: workers that train what memories wait for, as Ray's tasks.

A task is what ``memkit worker --once`` is: it opens a memory, and takes parts of its jobs until
nothing is left to take. Leases in the memory see to it that no two tasks train the same. So Ray
may run a task again whose machine was lost; what it had committed stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path

from memkit import Memory
from memkit.memory.worker import Work

__version__ = "0.1.0"
__all__ = ["work"]

Place = str | Path


def work(
    places: Iterable[Place],
    *,
    workers: int = 1,
    opened: Callable[[Place], Memory] = Memory.open,
    num_cpus: float = 1.0,
    num_gpus: float = 0.0,
) -> dict[str, Work]:
    """Train what waits in the jobs of memories; returns when nothing is left to take.

    Ray has to be initialized. A directory has to be on the machine of the task that trains it, so
    clusters of several machines need memories on a server.

    Args:
        places: The memories: directories, or URLs of a PostgreSQL server.
        workers: Tasks for each memory. More than it has scopes with something to train find
            nothing to do.
        opened: Opens a memory in its task, with the models and the recipe that its jobs are for.
        num_cpus: What Ray reserves for each task.
        num_gpus: Likewise; 1 gives each task a GPU of its own.

    Returns:
        For each place, how many parts of jobs were done, failed or left to others, by all its
        tasks together. What failed is tried again by a later call.

    Raises:
        RayTaskError: If a memory cannot be opened or used; the error is its cause.
    """
    import ray

    task = ray.remote(num_cpus=num_cpus, num_gpus=num_gpus)(_work)
    running = {str(place): [task.remote(place, opened) for _ in range(workers)] for place in places}
    return {place: _sum(ray.get(tasks)) for place, tasks in running.items()}


def _work(place: Place, opened: Callable[[Place], Memory]) -> Work:
    with opened(place) as memory:
        return memory.jobs.work(once=True)


def _sum(works: Iterable[Work]) -> Work:
    works = list(works)
    return Work(*(sum(getattr(work, field.name) for work in works) for field in fields(Work)))

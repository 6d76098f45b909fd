"""What a user said on Monday is known on Tuesday, and to nobody else.

    python examples/across_sessions.py

Two scopes do it: what is said goes to the session, what should outlast it goes to the user. A
session sees what its user knows; a user does not see what was said in a session.
"""

import tempfile
from datetime import timedelta

from memkit import Memory
from memkit.testing import HashingEmbedder


def session_of(user: str, session: str) -> dict[str, str]:
    return {"user": user, "session": session}


# A small embedder and counter, so that this loads no model; leave them out for the defaults.
options = {"backends": ("buffer", "rag"), "embedder": HashingEmbedder(), "count_tokens": len}
with tempfile.TemporaryDirectory() as folder:
    with Memory.open(folder, **options) as memory:
        monday = session_of("ann", "monday")
        memory.add_turn("user", "I am allergic to hazelnuts, and my bus is late.", scope=monday)
        # Whoever decides what is worth keeping, a model or a rule: it goes to the user, with a
        # key, so that a correction becomes its next version and does not stand beside it.
        memory.add("Ann is allergic to hazelnuts.", scope={"user": "ann"}, key="allergies")
        memory.add("Ann is in a hurry.", scope={"user": "ann"}, ttl=timedelta(hours=8))

    with Memory.open(folder, **options) as memory:  # another process, the day after
        for user in ("ann", "bob"):
            tuesday = session_of(user, "tuesday")
            recall = memory.recall("Is the hazelnut cake alright?", budget=400, scope=tuesday)
            print(f"{user} on Tuesday: {recall.text or '(nothing)'}")
        memory.add("Ann is allergic to peanuts.", scope={"user": "ann"}, key="allergies")
        (hit,) = memory.search("allergic", k=1, scope={"user": "ann"})
        print("corrected:", hit.text, f"(version {hit.record.version})")
        print("of Monday's session:", memory.turns(scope=monday)[0].content)

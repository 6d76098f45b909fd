"""Where "none" begins: the threshold between a memory's own questions and all others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from memkit.errors import InvalidInputError

FALSE_ACTIVATION = 0.01  # share of unrelated prompts that may pass the threshold
FALSE_REFUSAL = 0.01  # share of related questions that may fall below it

# General prompts of many kinds, none of them about anything that is remembered. They are not
# the guards of training: those the adapters have seen.
UNRELATED_PROMPTS = (
    "What is the boiling point of water?",
    "Write a haiku about autumn.",
    "How are you feeling today?",
    "Translate 'thank you' into French.",
    "What is 17 times 23?",
    "Who painted the Mona Lisa?",
    "Give me a recipe for pancakes.",
    "Explain photosynthesis in one sentence.",
    "Write a Python function that reverses a string.",
    "What should I pack for a week at the beach?",
    "Tell me a joke.",
    "What is the largest planet?",
    "How do I tie a tie?",
    "Summarise the plot of Romeo and Juliet.",
    "What is the past tense of 'go'?",
    "Recommend a good book.",
    "How far away is the moon?",
    "What is the meaning of life?",
    "Sort these numbers: 4, 1, 3.",
    "How can I sleep better?",
    "When did the Second World War end?",
    "What is a prime number?",
    "Name a musical instrument with strings.",
    "How do aeroplanes fly?",
    "What is the currency of Japan?",
    "Give me three synonyms for 'happy'.",
    "What is machine learning?",
    "How do I remove a coffee stain?",
    "Which language is spoken in Brazil?",
    "Write a birthday greeting.",
    "What causes rain?",
    "Is it better to run in the morning or in the evening?",
)


def threshold_between(related: Sequence[float], unrelated: Sequence[float]) -> float:
    """Choose the similarity below which a query is none of the memory's business.

    Halfway between the highest of the unrelated and the lowest of the related similarities,
    outliers aside. Where the two overlap, few false activations come first: a question that is
    refused is still answered by rag, one that is wrongly activated gets an invented answer.

    Args:
        related: Similarities of questions about records with their nearest fact.
        unrelated: The same for general prompts.

    Raises:
        InvalidInputError: If either is empty.
    """
    if not related or not unrelated:
        raise InvalidInputError(
            f"expected similarities of both kinds, got {len(related)} related and "
            f"{len(unrelated)} unrelated"
        )
    low = float(np.quantile(np.asarray(related), FALSE_REFUSAL))
    high = float(np.quantile(np.asarray(unrelated), 1.0 - FALSE_ACTIVATION))
    return (low + high) / 2 if low > high else high

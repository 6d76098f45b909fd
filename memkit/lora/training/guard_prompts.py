"""General prompts that an adapter must leave alone.

Every training batch carries a few of them with the base model's own greedy answers, so that
the adapter learns where it has nothing to say. They are ours, and about nothing in particular.
"""

GUARD_PROMPTS = (
    "Hello! How are you today?",
    "What is two plus two?",
    "Name three colours.",
    "What is the capital of France?",
    "Write one sentence about the sea.",
    "How do I boil an egg?",
    "Translate 'good morning' into Spanish.",
    "What does a gardener do?",
    "Give me a word that rhymes with 'light'.",
    "Why is the sky blue?",
    "Suggest a title for a story about a lighthouse.",
    "Is a tomato a fruit?",
    "What is the opposite of 'cold'?",
    "How many days are in a week?",
    "Say something kind.",
    "What is a variable in programming?",
)

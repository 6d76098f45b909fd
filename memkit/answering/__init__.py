"""From evidence to an answer: prompt, generation, comparison with what is stored."""

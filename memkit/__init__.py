"""memkit: memory for language-model agents, in the weights, in an index, in the prompt."""

__version__ = "0.1.0"

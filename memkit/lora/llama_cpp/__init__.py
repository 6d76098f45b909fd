"""Adapters for llama.cpp: the GGUF files that it loads beside a base model."""

"""How an adapter is trained, part by part; `memkit.lora.training.trainer` puts them together."""

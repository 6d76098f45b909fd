"""How an adapter is trained, part by part; `memkit.lora.train` puts them together."""

"""Models by name: the cache of the Hugging Face tools on this machine, and the hub that `pie model download` asks."""

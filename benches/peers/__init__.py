"""The engines that `benches.decode` compares, each a process of its own that answers lines of JSON."""

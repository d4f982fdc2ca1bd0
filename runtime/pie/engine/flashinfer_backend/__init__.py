"""The GPU backend: flashinfer's kernels behind the engine's interface, and the tables that they read."""

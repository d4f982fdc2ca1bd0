"""HTTP surfaces: each maps its JSON to the launch of a program, and what the program says back to JSON or events."""

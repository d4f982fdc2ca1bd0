"""The configuration: keys, the file, the environment, and what the parts of the server are given of it."""

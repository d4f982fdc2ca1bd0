"""Models of other architectures than our families': modules of transformers, with our paged attention in them."""

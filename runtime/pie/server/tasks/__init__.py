"""Tasks: chats that are kept, run one after the other, and read when and as often as somebody likes."""

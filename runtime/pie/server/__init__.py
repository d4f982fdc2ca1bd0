"""The server: sessions of clients over WebSocket, what they do, and what becomes of it when they leave."""

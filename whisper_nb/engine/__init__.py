"""The engine: sessions, runs and the runtime that owns them."""

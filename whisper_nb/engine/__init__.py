"""The engine: sessions, their runs, and the event loop that they live on."""

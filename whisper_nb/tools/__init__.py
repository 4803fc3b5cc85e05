"""Tools: what an agent may do besides talk."""

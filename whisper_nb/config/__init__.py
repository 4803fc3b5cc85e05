"""Configuration: agents, AIConfig, keys, the files of a project, and trust."""

"""A team: the runtime with its agents, the work that they share, and its limits."""

"""The live panel of agents."""

"""The form that creates an agent."""

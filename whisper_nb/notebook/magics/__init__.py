"""The magics: their grammar, completion and commands."""

"""The output of runs in cells, expressions in prompts, and waiting inside a cell."""

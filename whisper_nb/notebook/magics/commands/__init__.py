"""The commands of `%agent`, grouped by what they act on, and the table of their names."""

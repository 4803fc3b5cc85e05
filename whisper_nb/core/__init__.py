"""Plain data and pure functions, which every other folder uses."""

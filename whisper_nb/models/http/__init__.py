"""HTTP: request bodies, connections and their reuse."""

"""A store that several processes use: PENIN's socket and Redis, each with its own Python client."""

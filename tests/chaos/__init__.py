"""Real processes that are killed, starved and cut off, and what must be true afterwards."""

"""Model cards: what every network of the registry is, what it is for, and what was measured with it."""

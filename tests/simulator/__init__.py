"""Real processes to test against: the gateway as a user starts it, and a model behind it."""

"""The workshop's rate cards: what they say, where they are kept, when each holds, what a new one changes."""

"""Commands that only the workflows call."""

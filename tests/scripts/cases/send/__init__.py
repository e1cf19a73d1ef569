"""The cases of `send`."""

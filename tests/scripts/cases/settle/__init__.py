"""The cases of `settle`."""

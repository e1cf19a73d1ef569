"""The cases of `dispatch`."""

"""The demonstration: real webhooks through the jobs of `examples/github`, watched to the end and checked."""

"""The demo: sample webhooks of GitHub go through the jobs of `examples/github`, and every outcome is checked."""

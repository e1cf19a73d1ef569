"""A model of one namespace in plain Python, and the machine that compares a real server with it step by step."""

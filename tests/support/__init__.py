"""What the tests build on: real processes, a proxy that cuts the line, waiting, and the search for leaks."""

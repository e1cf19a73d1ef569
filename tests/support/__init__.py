"""What the tests stand on: real processes, a proxy that cuts the line, waiting, and the search for leaks."""

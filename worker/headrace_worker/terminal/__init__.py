"""What each command of `headrace` is made of: options, and how values are printed.

Here: what several commands share to parse what they are given, to reach the server, and to print.
Not here: what any of them does.
Imports: operate, process.
"""

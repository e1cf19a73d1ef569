"""One command of the server each, and the reader of its reply. Pure.

Here: the keys and arguments of a command or script, and what its reply means.
Not here: what is asked next.
Imports: formats, model, scripts.
"""

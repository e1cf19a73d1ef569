"""What there is, in pages: one module a list, each a plan whose page costs four round trips, some a few more. Pure.

Here: where a list begins, how far a page looks, and which of what it finds is asked for.
Not here: the record of one event or run, and how a page is shown.
Imports: calls, formats, model, plans.
"""

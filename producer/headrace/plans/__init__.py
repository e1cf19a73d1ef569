"""What a client does, one module a verb: generators that yield calls and are sent their results. Pure.

Here: what is asked, in which order, and what the caller gets.
Not here: connections, and how one call is written.
Imports: calls, formats, model.
"""

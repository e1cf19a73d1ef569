"""What may be wrong with a server and a namespace, and what mends it. Pure: the clock is passed in.

Here: the plan of `headrace doctor`, the calls that it makes, and one module for each part that it looks at.
Not here: how findings are shown; anything that changes a namespace, but for scratch keys on which rights are tried.
Imports: inspect, protocol, startup.
"""

"""Last station: the status of an object, `publish.of`. Pure.

In: the graph, what was seen, and the time. Out: a typed status, and when to look again though nothing happens.
Never: decides what to do.
"""

"""What must be true of an estate: one module per family, each with its `RULES`.

A rule is data (id, severity, title, what it means, how to fix) and one function that finds where
it is broken. One defect is one rule's finding: where two rules could see the same defect, the
docstring of one says why it leaves it to the other.
"""

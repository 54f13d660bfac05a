"""One file per kind of finding; a file's name is its kind's name.

Nothing here is imported until configuration names it.
"""

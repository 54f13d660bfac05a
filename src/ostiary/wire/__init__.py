"""Shapes on the wire: strict JSON, server-sent events, and what each route's body must look like.

Pure functions: no I/O, no clock, no configuration. Nothing here quotes its input in an error.
"""

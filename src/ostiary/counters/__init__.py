"""Counters: one file for each place where counts can be kept; its name is its configured name."""

"""Stores: one file for each place where state can be durable; its name is its configured name."""

"""Ostiary: a self-hosted security gateway for AI applications, and a library of its parts."""

__version__ = "0.1.0"

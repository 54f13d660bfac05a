"""Answers under inspection, one dialect a file: what of a model's words may leave, and when."""

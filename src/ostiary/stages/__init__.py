"""The way of a request. The file names sort into running order; `pipeline.py` walks them."""

"""HTTP: the only folder, beside `assemble` and `cli`, that knows the web server."""

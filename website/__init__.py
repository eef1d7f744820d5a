"""What builds the documentation site: pages from docstrings, from notebooks and from the command line."""

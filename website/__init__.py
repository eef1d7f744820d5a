"""What builds the documentation site: pages from docstrings, notebooks and commands."""

"""``python -m regiontree``."""

from regiontree.cli import main

main()

"""The command, as ``regiontree`` or ``python -m regiontree``."""

import sys


def main() -> None:
    """Run it; an interruption while it is still being loaded is as quiet as one later on."""
    try:
        from regiontree.cli import main as command
    except KeyboardInterrupt:
        sys.exit(130)
    command()


if __name__ == "__main__":
    main()

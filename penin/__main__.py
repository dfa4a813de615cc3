"""`python -m penin`."""

import sys

from penin.cli import main

if __name__ == "__main__":
    sys.exit(main())

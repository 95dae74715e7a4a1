"""`python -m penstock.worker`: the same as `penstock work`."""

import sys

from penstock.worker import run

if __name__ == "__main__":
    sys.exit(run.main())

"""`python -m bench`: what ingest costs, as ratios. `bench.controlplane` is started by itself: it takes minutes."""

import sys

from bench import ingest

if __name__ == "__main__":
    ingest.main(sys.argv[1:])

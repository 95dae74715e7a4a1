"""`python -m bench`: what the operator costs at scale, and what ingest costs, as ratios.

`bench.controlplane` is started by itself: it needs a real API server, and takes minutes.
"""

import sys

from bench import ingest, scale

if __name__ == "__main__":
    scale.main()
    ingest.main(sys.argv[1:])

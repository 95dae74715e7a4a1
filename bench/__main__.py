"""`python -m bench`: what the operator costs at scale, what ingest costs, as ratios, and when its first rows are there.

`bench.controlplane` is started by itself: it needs a real API server, and takes minutes.
"""

import sys

from bench import firstrows, ingest, scale

if __name__ == "__main__":
    scale.main()
    ingest.main(sys.argv[1:])
    firstrows.main()

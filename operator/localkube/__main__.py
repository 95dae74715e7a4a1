"""python -m localkube --folder DIR: an embedded cluster until Ctrl-C, for tests and for looking around."""

import argparse
import asyncio
import contextlib
import logging
import signal
from pathlib import Path

from localkube import cluster


async def _main(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with cluster.running(
        options.folder, worker_image=options.image, port=options.port, crds=options.crds, backoff=options.backoff
    ) as started:
        print(f"export KUBECONFIG={started.kubeconfig}", flush=True)
        await stop.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--image", default="penstock-worker:dev")
    parser.add_argument("--crds", type=Path)
    parser.add_argument("--backoff", type=float, default=10.0, help="seconds before a Job's second attempt")
    logging.basicConfig(level=logging.INFO)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(parser.parse_args()))

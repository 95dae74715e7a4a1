"""`python -m penstock.worker`: the same as `penstock work`."""

from penstock.worker import run

if __name__ == "__main__":
    run.program()

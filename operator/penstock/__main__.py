"""`python -m penstock`: the same as the command `penstock`."""

from penstock import cli

if __name__ == "__main__":
    cli.main()

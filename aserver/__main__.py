"""`python -m aserver`, and the console script."""

import signal


def entrypoint() -> None:
    """Run the command line.

    The import of it takes a tenth of a second. SIGUSR1, whose default is to end the process, may
    come meanwhile: whoever rotates logs does not ask who is ready.
    """
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)

    from .cli import entrypoint

    entrypoint()


if __name__ == "__main__":
    entrypoint()

"""The command line: options in, a running server, an exit code out.

Each way to fail has an exit code of its own and one line on standard error; see `EXIT_CODES`.
"""

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

from .access_log import check_access_log
from .addresses import places
from .app import AppImportError, load_app
from .config import Config
from .declarations import ConfigError
from .engine_choice import choose_forwarding, choose_parser
from .entrances import certificates_for, proxies_for
from .event_loops import new_loop
from .logs import set_up_logging
from .options import Settings, load, to_toml
from .running import end_in_bounded_time, raise_file_limit, run
from .types import ServerError

EXIT_CODES = {
    0: "stopped as asked, by SIGINT or SIGTERM, however many requests had to be cancelled",
    1: "an error inside the server",
    2: "wrong usage: an option, a value or a configuration file",
    3: "the application cannot be imported",
    4: "the application failed to start (lifespan)",
    5: "cannot listen on an address",
    6: "a file descriptor is not a listening socket",
}

# For threads of the application to end after everything else has; those of idle executors do at
# once.
_THREADS_SECONDS = 1.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        settings = load(sys.argv[1:] if argv is None else argv, os.environ)
    except ConfigError as error:
        return _fail(2, error)
    try:
        return _act(settings)
    except ConfigError as error:
        return _fail(2, settings.located(error))
    except ServerError as error:
        if isinstance(error, AppImportError) and error.details:
            print(error.details, end="", file=sys.stderr)
        return _fail(error.exit_code, error)


def _act(settings: Settings) -> int:
    config = settings.config
    if settings.action == "print-config":
        print(to_toml(settings))
        return 0
    process = config.process
    if not process.app:
        raise ConfigError(
            "which application? Name it as MODULE:OBJECT, as in: aserver mysite.asgi:application"
        )
    if settings.action == "check-config":
        listening = places(config.bind, config.tls)
        set_up_logging(config.log)
        new_loop(process.loop).close()
        choose_parser(config.http.http)
        choose_forwarding(config.proxy)
        check_access_log(config.log)
        proxies_for(config, listening)
        certificates_for(config, listening)
        load_app(
            process.app,
            app_dir=process.app_dir,
            factory=process.factory,
            interface=process.interface,
            threads=process.threads,
        )
        print("The configuration is good, and the application can be imported.")
        return 0
    set_up_logging(config.log)
    raise_file_limit()
    run(process.app, _with_access_log(config), environ=os.environ)
    return 0


def _with_access_log(config: Config) -> Config:
    """On the command line the access log is on unless it is switched off, as with Daphne."""
    # There is no sys.stdout if the process was started with its standard output closed.
    if config.log.access_log is None and config.log.verbosity > 0 and sys.stdout is not None:
        return replace(config, log=replace(config.log, access_log="-"))
    return config


def _fail(code: int, error: Exception) -> int:
    print(f"aserver: error: {error}", file=sys.stderr)
    return code


def entrypoint() -> NoReturn:
    """The console script."""
    _fill_standard_descriptors()
    code = main()
    # Asked once more while it leaves: there is nothing left to ask for.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    end_in_bounded_time(_THREADS_SECONDS, code)
    sys.exit(code)


def _fill_standard_descriptors() -> None:
    """Started with one of the first three closed, we would get a socket there.

    Whatever writes to standard output or error would write to a client then, and libuv aborts.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)

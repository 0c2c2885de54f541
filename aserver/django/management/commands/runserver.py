"""`manage.py runserver`, on aserver: HTTP and WebSocket, static files, reload on change.

It is Django's command with another server in it: what it says of addresses, checks, migrations and
reloading is Django's. The server is imported where it is served only: under the autoreloader, the
process that starts the others has no use for it.
"""

import logging
import os
import signal
import sys
import threading
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from typing import Any

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler, StaticFilesHandler
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.core.management.commands import runserver
from django.db import connections
from django.utils import autoreload

from ....config import Config
from ....declarations import ConfigError
from ....types import ASGIApplication, ServerError
from ... import conf, static_files
from ...banner import banner
from ...command_options import add_options, given_options, joined

# Between two looks at the files. Django's own second would be half of what a reload may take.
_POLL_SECONDS = 0.5


class Command(runserver.Command):
    """The command. Its options are Django's, Daphne's, and those of the server."""

    help = "Starts a development server that speaks HTTP and WebSocket, on aserver."

    _owns_process = False  # called from the command line
    _given: Mapping[str, Any]  # options of the server
    _request_stop: Callable[[], None] | None = None  # of the server that runs in `_thread`
    _thread: threading.Thread | None = None

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        super().add_arguments(parser)
        parser.add_argument(
            "--noasgi",
            action="store_false",
            dest="use_asgi",
            help="Run Django's own development server, on WSGI; it has none of aserver's options.",
        )
        static_files.add_options(parser)
        add_options(parser)

    def run_from_argv(self, argv: list[str]) -> None:
        """What `manage.py` calls, and nobody else."""
        self._owns_process = True
        super().run_from_argv(argv)

    def handle(self, *args: Any, **options: Any) -> None:
        """Check what can be checked at once, then go on as Django's command."""
        self._given = _given(options)
        if not options["use_asgi"]:
            if "certfile" in self._given:
                raise CommandError("--certfile: Django's own server (--noasgi) speaks no https.")
        elif options["use_reloader"] and not _is_child():
            # A mistake in the settings is told at once; a child waits until it is corrected.
            try:
                conf.application_path()
                conf.server_options()
            except ImproperlyConfigured as error:
                raise CommandError(str(error)) from None
        super().handle(*args, **options)

    def run(self, **options: Any) -> None:
        """Serve, under the autoreloader or without it."""
        if int(self.port) > 65535:  # no change of a file would mend it
            raise CommandError(f"{self.port!r} is not a valid port number.")
        if not options["use_reloader"]:
            super().run(**options)
            return
        if not _is_child():
            if self._owns_process:
                sys.argv[1:] = joined(sys.argv[1:])  # for the processes that the reloader starts
        elif options["use_asgi"]:
            # In the server's thread it would take longer: the reloader is at work beside it.
            from ... import request_log, serving  # noqa: F401

            autoreload.StatReloader.SLEEP_TIME = _POLL_SECONDS
        code = 0
        try:
            super().run(**options)
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 1
            raise
        finally:
            self._leave(code)

    def _leave(self, code: int) -> None:
        """Stop the server in its thread: this process ends, perhaps to be started anew."""
        if self._request_stop is None or self._thread is None:
            return
        from ....running import end_in_bounded_time
        from ...serving import EXIT_SECONDS

        signal.signal(signal.SIGINT, signal.SIG_IGN)
        end_in_bounded_time(EXIT_SECONDS, code)
        self._request_stop()
        self._thread.join()

    def get_handler(self, *args: Any, **options: Any) -> Any:
        """The application of Django's own server."""
        handler = super().get_handler(*args, **options)
        return static_files.wrapped(handler, StaticFilesHandler, options)

    def get_application(self, options: dict[str, Any]) -> ASGIApplication:
        """The application of ours."""
        return static_files.wrapped(conf.application(), ASGIStaticFilesHandler, options)

    def inner_run(self, *args: Any, **options: Any) -> None:
        """Check the project, then serve it; under the autoreloader, in a thread."""
        if not options["use_asgi"]:
            super().inner_run(*args, **options)
            return
        autoreload.raise_last_exception()
        try:
            self._check_project(options)
            self._try_to_serve(options)
        except KeyboardInterrupt:  # the server, which has a handler for it, was not there yet
            if options["use_reloader"]:  # in a thread, it is the project's own
                raise
        if message := options.get("shutdown_message"):
            self.stdout.write(message)

    def _check_project(self, options: dict[str, Any]) -> None:
        if not options["skip_checks"]:
            self.stdout.write("Performing system checks...\n\n")
            # Django's own runserver has none here, for it is checked anew after each change.
            kwargs = BaseCommand.get_check_kwargs(self, options)
            self.check(**{**kwargs, "display_num_errors": True})
        self.check_migrations()
        for connection in connections.all(initialized_only=True):
            connection.close()

    def _try_to_serve(self, options: dict[str, Any]) -> None:
        reloads = options["use_reloader"]
        try:
            self._serve(options)
        except ImproperlyConfigured as error:
            if not reloads:
                raise CommandError(str(error)) from None
            if not isinstance(error, conf.SettingError):
                raise  # the autoreloader prints where that was, and waits for a change
            self.stderr.write(f"Error: {error}")
        except (ServerError, ConfigError) as error:
            self._fail(error, reloads=reloads)

    def _serve(self, options: dict[str, Any]) -> None:
        from ....running import run_server
        from ....server import Server
        from ...request_log import RequestLog, set_up_logging
        from ...serving import GRACE_SECONDS, Development

        application = self.get_application(options)
        values = {**conf.server_options(), **self._given, "graceful_timeout": GRACE_SECONDS}
        config = Config.of(bind=self._address, **values)
        log = set_up_logging(options["verbosity"])

        def on_stop() -> None:
            if log is not None:
                log.setLevel(logging.ERROR)  # that requests are ended is what was asked for

        observer = Development(
            lambda port: self._announce(port, is_secure=server.has_tls),
            on_stop,
            ends_process=self._owns_process and not options["use_reloader"],
        )
        server = Server(
            application,
            config,
            access_log=RequestLog(config.log.access_log_exclude),
            observer=observer,
        )
        self._request_stop, self._thread = server.request_stop, threading.current_thread()
        run_server(server)

    @property
    def _address(self) -> str:
        host = "0.0.0.0" if self.addr == "0" else self.addr
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    def _announce(self, port: int, *, is_secure: bool) -> None:
        host = self._address.rpartition(":")[0]
        scheme = "https" if is_secure else "http"
        self.stdout.write(banner(f"{scheme}://{host}:{port}/"))
        self.stdout.flush()  # it may be a pipe, as in a container

    def _fail(self, error: ServerError | ConfigError, *, reloads: bool) -> None:
        """Say why it does not serve. The autoreloader waits for a change, if one can mend that."""
        from ....listener import BindError
        from ....running import exit_now

        self.stderr.write(f"Error: {error}")
        if not reloads:
            sys.exit(1)
        if isinstance(error, BindError):
            exit_now(1)  # in a thread, sys.exit() would end only that


def _is_child() -> bool:
    """Whether the autoreloader has started this process, and will start it anew."""
    return os.environ.get(autoreload.DJANGO_AUTORELOAD_ENV) == "true"


def _given(options: dict[str, Any]) -> dict[str, Any]:
    try:
        return given_options(options)
    except ConfigError as error:
        raise CommandError(str(error)) from None

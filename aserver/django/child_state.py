"""The state of a test run, carried into the process of a live server: settings and databases.

A forked process has all of it, and a thread less than it believes; one that was spawned has only
read the settings.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import django
from asgiref.sync import SyncToAsync
from django.apps import apps
from django.conf import global_settings, settings
from django.db import connections
from django.test import override_settings

# Of a database, what the test runner changes.
_OF_TESTS = ("NAME", "USER", "PASSWORD")
_ABSENT = object()


@dataclass(frozen=True)
class ChildState:
    """What the child must know; it can be pickled if the values of settings can be.

    Attributes:
        changed: What is not as the settings' module says: the test runner's doing, and the test's.
        databases: Of each, by its alias, where the tests have it.
    """

    changed: dict[str, Any]
    databases: dict[str, dict[str, str]]

    @classmethod
    def of_this_process(cls) -> Self:
        """As it is now."""
        databases = {
            alias: {name: connections[alias].settings_dict[name] for name in _OF_TESTS}
            for alias in connections
        }
        return cls(_changed_settings(), databases)

    def restore(self) -> None:
        """Let it be so in the child."""
        renew_executor()
        if not apps.ready:
            django.setup()
        news = {
            name: value
            for name, value in self.changed.items()
            if getattr(settings, name, _ABSENT) != value
        }
        override_settings(**news).enable()
        for alias, own in self.databases.items():
            connections.settings[alias].update(own)


def _changed_settings() -> dict[str, Any]:
    module = sys.modules.get(os.environ.get("DJANGO_SETTINGS_MODULE", ""))
    if module is None:
        return {}
    changed = {}
    for name in filter(str.isupper, dir(settings)):
        value = getattr(settings, name)
        if value != getattr(module, name, getattr(global_settings, name, _ABSENT)):
            changed[name] = value
    return changed


def renew_executor() -> None:
    """A fork has the executor of sync_to_async, which may believe in a thread that it has not."""
    SyncToAsync.single_thread_executor = ThreadPoolExecutor(max_workers=1)

"""Where the tests of the project differ, the environment says how."""

import multiprocessing
import os
from pathlib import Path

multiprocessing.set_start_method(os.environ.get("LIVE_START_METHOD"), force=True)

SECRET_KEY = "only for the tests"
DEBUG = False
ALLOWED_HOSTS = ["nobody.test"]  # which a process that has only read this would believe
WORD = "as it is in the file"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("LIVE_REAL_DATABASE", "nobody-uses-it.sqlite3"),
        "TEST": {"NAME": os.environ.get("LIVE_DATABASE")},  # None: in memory
    }
}
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.staticfiles",
]
MIGRATION_MODULES = {"auth": None, "contenttypes": None}  # tables at once
ROOT_URLCONF = "tests.django.live.asgi"
ASGI_APPLICATION = os.environ.get("LIVE_APPLICATION", "tests.django.live.asgi.application")
STATIC_URL = "static/"
STATICFILES_DIRS = [Path(__file__).parent]
USE_TZ = True
# The live server has an address of its own, without TLS.
ASERVER = {"server_name": "live", "certfile": "nowhere.pem"}

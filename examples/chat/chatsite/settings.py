"""Settings that work as they are; the environment changes them (see README.md)."""

import os
from pathlib import Path

from chatsite.layers import channel_layer
from chatsite.secret import secret_key

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = os.environ.get("SECRET_KEY") or secret_key(BASE_DIR / "secret-key")
DEBUG = os.environ.get("DEBUG", "on").lower() not in {"0", "false", "no", "off"}
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "localhost,.localhost,127.0.0.1,[::1]").split(",")

ASGI_APPLICATION = "chatsite.asgi.application"
ROOT_URLCONF = "chatsite.urls"
INSTALLED_APPS = [
    "aserver.django",  # before staticfiles: whose runserver is the other one
    "channels",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "chatsite",
]

# Each of these is async-capable: its hooks take a thread for a moment only. A sync-only middleware
# would hold one for as long as an async view waits.
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DATABASE") or BASE_DIR / "db.sqlite3",
        "OPTIONS": {
            # Readers and one writer at a time get on, also from several server processes.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
        },
    },
}

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CHANNEL_LAYERS = {"default": channel_layer(os.environ.get("CHANNEL_LAYER") or "memory")}

LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "lobby"

STATIC_URL = "static/"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

# Only Django's own logger: the server has set up its loggers by the time this runs.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "{levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "loggers": {"django": {"handlers": ["console"], "level": "INFO", "propagate": False}},
}

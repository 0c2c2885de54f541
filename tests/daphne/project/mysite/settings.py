"""The settings: pages, sessions in cookies, and a channel layer of one process."""

ALLOWED_HOSTS = ["*"]
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
]
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware"]
ROOT_URLCONF = "mysite.urls"
SECRET_KEY = "only for the tests"
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
USE_TZ = True

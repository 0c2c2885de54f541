"""The application that stands in INSTALLED_APPS as `aserver.django`."""

from django.apps import AppConfig
from django.core.checks import Tags, register


class AserverConfig(AppConfig):
    """It has no models; its label is not `django`, which would be the last part of its name."""

    name = "aserver.django"
    label = "aserver"
    verbose_name = "aserver"

    def ready(self) -> None:
        """Register the system checks."""
        from .checks import check_order  # only now: it asks for the apps

        register(check_order, Tags.staticfiles)

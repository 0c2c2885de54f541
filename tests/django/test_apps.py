"""The application of `INSTALLED_APPS`."""

from django.apps import AppConfig
from django.core.checks.registry import registry

from aserver.django.checks import check_order


def test_it_is_found_by_its_name_and_has_a_label_of_its_own() -> None:
    config = AppConfig.create("aserver.django")
    assert type(config).__name__ == "AserverConfig"
    assert (config.name, config.label) == ("aserver.django", "aserver")


def test_it_brings_its_check() -> None:
    AppConfig.create("aserver.django").ready()
    assert check_order in registry.registered_checks

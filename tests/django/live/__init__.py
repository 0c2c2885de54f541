"""A project whose own tests have live servers: `tests.django.test_testing` runs them."""

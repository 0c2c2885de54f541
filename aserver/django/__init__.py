"""Django's side of aserver: `runserver`, its settings, a check, and a server in tests.

Put `"aserver.django"` into INSTALLED_APPS, before `"django.contrib.staticfiles"`. Nothing outside
of this package imports Django, and this module itself does not either.
"""

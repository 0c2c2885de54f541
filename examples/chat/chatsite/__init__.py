"""The demo site of aserver: Django and Channels, sync and async, uploads and streams."""

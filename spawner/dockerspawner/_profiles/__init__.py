"""Profiles: the list, a user's choice and its form, settings for one server."""

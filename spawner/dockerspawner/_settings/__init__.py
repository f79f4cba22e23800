"""Settings in general: names, templates, limits, deprecated settings, keys of the Docker SDK, operator code."""

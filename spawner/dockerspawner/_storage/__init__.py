"""Volumes, binds and mounts: names, owners, preparation of new volumes, missing folders, deletion."""

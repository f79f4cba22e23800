"""Ownership of Docker objects: labels, the hub's instance, JupyterHub's database, a server's state."""

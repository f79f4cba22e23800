"""The hub's process, and what it runs beside JupyterHub's own."""

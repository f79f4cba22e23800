"""The gate: the one process that talks to the Docker engine, for a hub that it does not trust.

It forwards nothing that it was given. A request is read strictly, compared with what Dockyard's spawner sends, and
written anew; what is not known is refused. `python -m dockyard.gate` runs it.
"""

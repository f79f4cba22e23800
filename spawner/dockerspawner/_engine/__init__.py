"""The Docker engine: its clients and worker pools, its events, the cache of container states, archives, metrics."""

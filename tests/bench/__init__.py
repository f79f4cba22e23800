"""The spawner measured beside its predecessor and beside the engine alone: `make bench`."""

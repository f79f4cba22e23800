"""The life of a swarm service: specification, tasks, state cache, certificates, homes."""

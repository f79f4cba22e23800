"""The life of a container: specification, adoption or creation, certificates, readiness, undo, sleep."""

"""The hub of a Dockyard kit: its settings, its sign-in, its process, and the gate before the engine."""

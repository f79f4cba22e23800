"""What the gate lets pass: what settings and profiles allow, and the models of what the spawner sends."""

# Sourced after _lib.sh by what knows the swarm's nodes.
# shellcheck shell=bash

# nodes_with LABEL: ids of the nodes of the swarm that have it set to true.
nodes_with() { docker node ls --quiet --filter "node.label=$1=true"; }

# Whether the hub's database is the file on its volume.
sqlite() { ! overlay postgres && ! grep -qE '^DB_URL(_FILE)?=.' .env; }

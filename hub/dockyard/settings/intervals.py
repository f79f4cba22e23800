"""How often the hub learns of a server's activity, and the limit of idleness that follows from it."""

from __future__ import annotations

# Seconds between two reports of a server, plus or minus a tenth. The same for any CULL_IDLE_AFTER: a server that runs
# keeps the interval of its start.
REPORT_EVERY = 45
# Seconds between two readings of the proxy's routing table. It has the activity of servers that report none.
TABLE_READ_EVERY = 60
# The smallest CULL_IDLE_AFTER: one report or one reading of the table may be lost.
LEAST_IDLE = 2 * TABLE_READ_EVERY

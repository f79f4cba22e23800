"""Which subnet a network gets, of a pool of private addresses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Network, collapse_addresses, ip_network

# Six addresses: the engine's, the server's, and those of what is attached.
PREFIX = 29
MOST_ATTACHED = 4
# A thousand servers share the way to the internet.
EGRESS_PREFIX = 22


def parse_pool(texts: Iterable[str]) -> list[IPv4Network]:
    """The networks of a pool in ascending order; ValueError with what is wrong and the mend."""
    pool = []
    for text in texts:
        try:
            network = ip_network(text)
        except ValueError as error:
            raise ValueError(f"{text!r} is no network in CIDR form, such as 10.213.0.0/18: {error}") from None
        if not isinstance(network, IPv4Network):
            raise ValueError(f"{text} is not an IPv4 network: users' networks have IPv4 addresses")
        if network.prefixlen > PREFIX:
            raise ValueError(f"{text} is too small: each user's network takes a /{PREFIX}")
        pool.append(network)
    if not pool:
        raise ValueError("it is empty: it takes at least one network, such as 10.213.0.0/18")
    return sorted(collapse_addresses(pool))


def egress_candidates(pool: Sequence[IPv4Network]) -> Iterator[IPv4Network]:
    """Subnets for the way to the internet, from the pool's end, of at most half of each of its networks."""
    for network in reversed(pool):
        prefix = max(EGRESS_PREFIX, network.prefixlen + 1)
        if prefix <= PREFIX:
            yield from reversed(list(network.subnets(new_prefix=prefix)))


class Subnets:
    """The small subnets of a pool: each is free, taken by us, or in use by somebody else on the engine.

    One that was given back is the last to be taken again: who remembers its addresses has forgotten them by then.
    """

    def __init__(self, pool: Sequence[IPv4Network]) -> None:
        self._pool = pool
        self._taken: set[int] = set()
        self._others: set[int] = set()
        self._next = 0
        self.count = sum(_size(network) for network in pool)

    def take(self) -> IPv4Network | None:
        """A subnet that is free; None where none is."""
        for step in range(self.count):
            number = (self._next + step) % self.count
            if number not in self._taken and number not in self._others:
                self._taken.add(number)
                self._next = number + 1
                return self._subnet(number)
        return None

    def give_back(self, subnet: IPv4Network) -> None:
        self._taken.difference_update(self._numbers(subnet))
        self._others.difference_update(self._numbers(subnet))

    def block(self, subnet: IPv4Network) -> None:
        """Somebody else has it: it is not taken again until `know` says that it is free."""
        self._taken.difference_update(self._numbers(subnet))
        self._others.update(self._numbers(subnet))

    def know(self, in_use: Iterable[IPv4Network]) -> None:
        """These, of whatever size, and no others are in use on the engine, besides those that are taken."""
        self._others = {number for subnet in in_use for number in self._numbers(subnet)} - self._taken

    def _subnet(self, number: int) -> IPv4Network:
        for network in self._pool:
            if number < _size(network):
                first = int(network.network_address) + (number << 32 - PREFIX)
                return IPv4Network((first, PREFIX))
            number -= _size(network)
        raise IndexError(number)

    def _numbers(self, subnet: IPv4Network) -> Iterator[int]:
        """The numbers of the pool's subnets that overlap with this one."""
        below = 0
        for network in self._pool:
            if network.overlaps(subnet):
                base = int(network.network_address)
                first = max(int(subnet.network_address), base) - base >> 32 - PREFIX
                last = min(int(subnet.broadcast_address), int(network.broadcast_address)) - base >> 32 - PREFIX
                yield from range(below + first, below + last + 1)
            below += _size(network)


def _size(network: IPv4Network) -> int:
    return 1 << PREFIX - network.prefixlen

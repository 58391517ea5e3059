"""Host names and addresses of this machine. Pure."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own, which no other machine can reach.

    Args:
        host: Without a port; an IPv6 address with or without brackets.
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False

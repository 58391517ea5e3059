"""Where a server is reached that listens on all addresses (pure)."""

import ipaddress


def reachable_host(host: str) -> str:
    """The host under which this machine reaches a server: a loopback address where it listens on all addresses.

    Args:
        host: The host name or address that the server listens on; none is all addresses.
    """
    try:
        address = ipaddress.ip_address(host or "0.0.0.0")  # noqa: S104 - compared, not listened on
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"

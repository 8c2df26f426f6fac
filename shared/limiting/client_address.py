"""The address by which a caller is counted."""

import ipaddress


def client_network(address: str | None) -> str | None:
    """An IPv4 address, a /64 of IPv6, or None where there is none: whoever has one address of a /64 has all 2⁶⁴."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        mapped = found.ipv4_mapped
        return str(mapped or ipaddress.ip_network((found, 64), strict=False))
    return str(found)

"""The commands of `souche operator`: contracts, orders, switching."""

"""What workers share: leases and wake-ups."""

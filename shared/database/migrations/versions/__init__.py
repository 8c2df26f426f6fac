"""What migrations that ran call, as it was when they ran: never changed, and never imported by the product itself."""

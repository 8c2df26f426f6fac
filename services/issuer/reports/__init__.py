"""What each convention came to, the balances of all cheques, and the lists as files."""

"""What comes in: operators' messages and statements, and the events of issuer and redeemer."""

"""What happens to cheques after the grant: blocks, cancellations, replacements, suspension, expiry, redemption."""

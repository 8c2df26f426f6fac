"""What `souche verify` compares: cheques, redemptions, journals, statements and audit trails of the three services."""

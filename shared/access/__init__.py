"""Who may call and as what: tokens, roles, clients, revocations, logins and their lock-out."""

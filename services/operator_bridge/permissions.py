"""Who may do what at the operator bridge: no prescriber and no structure has anything there."""

from shared.access.permissions import table

PERMISSIONS = table("""
##                                                 admin finance operations prescriber structure service
# The key to an operator's door is the signature on its message.
POST   /v1/operators/{operator}/webhooks           everybody
# Contracts, and what is sent to operators under them.
GET    /v1/operators                               all   all     all        -          -         -
POST   /v1/contracts                               all   -       all        -          -         -
GET    /v1/contracts                               all   all     all        -          -         -
GET    /v1/contracts/{contract_id}                 all   all     all        -          -         -
POST   /v1/contracts/{contract_id}/state           all   -       all        -          -         -
POST   /v1/contracts/{contract_id}/hold            all   -       all        -          -         -
POST   /v1/contracts/{contract_id}/release         all   -       all        -          -         -
POST   /v1/contracts/{contract_id}/activations     all   all     all        -          -         -
POST   /v1/contracts/{contract_id}/adoptions       all   -       all        -          -         -
POST   /v1/contracts/{contract_id}/polls           all   -       all        -          -         -
POST   /v1/contracts/{contract_id}/comparison      all   all     all        -          -         -
GET    /v1/orders                                  all   all     all        -          -         -
POST   /v1/orders/{order_id}/retry                 all   -       all        -          -         -
POST   /v1/orders/{order_id}/outcome               all   -       all        -          -         -
POST   /v1/orders/retries                          all   -       all        -          -         -
GET    /v1/balances                                all   all     all        -          -         -
# Reconciling: what differs between an operator's statement and our register.
POST   /v1/reconciliations                         all   all     all        -          -         -
GET    /v1/reconciliations                         all   all     all        -          -         -
GET    /v1/reconciliations/{reconciliation_id}     all   all     all        -          -         -
GET    /v1/reconciliations/export.csv              all   all     all        -          -         -
GET    /v1/discrepancies                           all   all     all        -          -         -
GET    /v1/discrepancies/{discrepancy_id}          all   all     all        -          -         -
POST   /v1/discrepancies/{discrepancy_id}/resolution all all     all        -          -         -
GET    /v1/discrepancies/export.csv                all   all     all        -          -         -
GET    /v1/daily-balances                          all   all     all        -          -         -
GET    /v1/daily-balances/export.csv               all   all     all        -          -         -
# Switching operator.
POST   /v1/switches                                all   -       all        -          -         -
GET    /v1/switches                                all   all     all        -          -         -
GET    /v1/switches/{switch_id}                    all   all     all        -          -         -
POST   /v1/switches/{switch_id}/acceptance         all   -       all        -          -         -
GET    /v1/switches/{switch_id}/claims.csv         all   all     all        -          -         -
GET    /v1/switches/{switch_id}/claims.pdf         all   all     all        -          -         -
# What another service asks for after it was restored from a backup.
GET    /v1/recollections/redemptions               -     -       -          -          -         redeemer
""")

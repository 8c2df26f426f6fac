"""Who may do what at the redeemer. To a structure, `own` is what it redeemed and what it is owed for that; of
another's things it is told what it is told of things that there are not (404)."""

from shared.access.permissions import table

PERMISSIONS = table("""
##                                               admin finance operations prescriber structure service
# Tills: a structure presents cheques for itself alone. Whether somebody else redeemed one it is told, not who.
POST   /v1/checks                                -     -       -          -          own       -
POST   /v1/redemptions                           -     -       -          -          own       -
GET    /v1/redemptions                           all   all     all        -          own       -
GET    /v1/redemptions/{redemption_id}           all   all     all        -          own       -
POST   /v1/redemptions/{redemption_id}/reversal  all   -       -          -          own       -
GET    /v1/redemptions/export.csv                all   all     -          -          own       -
POST   /v1/expiries                              all   -       all        -          -         -
GET    /v1/balances                              all   all     all        -          -         all
# Structures: each sees itself.
POST   /v1/structures/imports                    all   -       -          -          -         -
GET    /v1/structures                            all   all     all        -          own       -
GET    /v1/structures/{structure_id}             all   all     all        -          own       -
POST   /v1/structures/{structure_id}/suspension  all   -       -          -          -         -
DELETE /v1/structures/{structure_id}/suspension  all   -       -          -          -         -
DELETE /v1/structures/{structure_id}/lockout     all   -       all        -          -         -
GET    /v1/structures/export.csv                 all   all     all        -          -         -
GET    /v1/structures/lieux-mediation-numerique.csv all all    all        -          -         -
POST   /v1/affiliations                          all   -       -          -          -         -
GET    /v1/affiliations                          all   all     all        -          -         -
GET    /v1/affiliations/export.csv               all   all     all        -          -         -
# Statements and payments: a structure sees its own and changes none.
POST   /v1/statements                            all   all     -          -          -         -
GET    /v1/statements                            all   all     -          -          own       -
GET    /v1/statements/export.csv                 all   all     -          -          own       -
GET    /v1/statements/{statement_id}             all   all     -          -          own       -
GET    /v1/statements/{statement_id}/statement.csv all all     -          -          own       -
GET    /v1/statements/{statement_id}/statement.pdf all all     -          -          own       -
POST   /v1/corrections                           all   all     -          -          -         -
GET    /v1/corrections                           all   all     -          -          -         -
POST   /v1/payments/imports                      all   all     -          -          -         -
GET    /v1/payments                              all   all     -          -          own       -
GET    /v1/payments/export.csv                   all   all     -          -          -         -
POST   /v1/payments/{payment_id}/withdrawal       all   all     -          -          -         -
GET    /v1/late-payments                         all   all     -          -          own       -
GET    /v1/late-payments/export.csv              all   all     -          -          own       -
GET    /v1/payment-terms                         all   all     -          -          -         -
PUT    /v1/payment-terms                         all   all     -          -          -         -
# What another service asks for after it was restored from a backup.
GET    /v1/recollections/contracts               -     -       -          -          -         operator_bridge
""")

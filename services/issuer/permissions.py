"""Who may do what at the issuer. To a prescriber, `own` is what it granted and what came of that; of another's things
it is told what it is told of things that there are not (404)."""

from shared.access.permissions import table

PERMISSIONS = table("""
##                                                admin finance operations prescriber structure service
# Programmes, their rules and lots are a catalogue: every prescriber grants by them.
POST   /v1/programmes                             all   -       -          -          -         -
GET    /v1/programmes                             all   all     all        all        -         -
GET    /v1/programmes/{code}                      all   all     all        all        -         -
POST   /v1/programmes/{code}/rules                all   -       -          -          -         -
GET    /v1/programmes/{code}/rules                all   all     all        all        -         -
GET    /v1/programmes/{code}/rules/{version}      all   all     all        all        -         -
PUT    /v1/programmes/{code}/retention            all   -       -          -          -         -
POST   /v1/lots                                   all   -       -          -          -         -
GET    /v1/lots                                   all   all     all        all        -         -
GET    /v1/lots/{code}                            all   all     all        all        -         -
POST   /v1/lots/{code}/suspension                 all   -       -          -          -         -
POST   /v1/lots/{code}/resumption                 all   -       -          -          -         -
GET    /v1/lots/{code}/statement                  all   all     all        -          -         -
GET    /v1/lots/{code}/statement.csv              all   all     all        -          -         -
GET    /v1/lots/{code}/statement.pdf              all   all     all        -          -         -
POST   /v1/lots/{code}/statement                  all   all     -          -          -         -
# Public money is the département's: a prescriber sees of it what its own grants are charged to.
POST   /v1/conventions                            all   all     -          -          -         -
GET    /v1/conventions                            all   all     all        -          -         -
GET    /v1/conventions/{convention_id}            all   all     all        -          -         -
POST   /v1/conventions/{convention_id}/amendments all   all     -          -          -         -
GET    /v1/conventions/{convention_id}/amendments all   all     all        -          -         -
POST   /v1/envelopes                              all   all     -          -          -         -
GET    /v1/envelopes                              all   all     all        -          -         -
GET    /v1/envelopes/{envelope_id}                all   all     all        -          -         -
POST   /v1/envelopes/{envelope_id}/movements      all   all     -          -          -         -
GET    /v1/envelopes/{envelope_id}/movements      all   all     all        -          -         -
POST   /v1/envelopes/{envelope_id}/closing        all   all     -          -          -         -
GET    /v1/envelopes/export.csv                   all   all     -          -          -         -
GET    /v1/balances                               all   all     all        -          -         -
GET    /v1/reports/conventions                    all   all     -          -          -         -
GET    /v1/reports/conventions/summary.csv        all   all     -          -          -         -
GET    /v1/reports/conventions/lines.csv          all   all     -          -          -         -
# Prescribers: each sees itself.
POST   /v1/prescribers/imports                    all   -       -          -          -         -
GET    /v1/prescribers                            all   all     all        -          -         -
GET    /v1/prescribers/{prescriber_id}            all   all     all        own        -         -
GET    /v1/prescribers/lieux-mediation-numerique.csv all all    all        -          -         -
# Grants: a prescriber makes and sees its own; codes are for who hands them over.
POST   /v1/grants                                 all   -       -          own        -         -
POST   /v1/grants/bulk                            all   -       -          own        -         -
GET    /v1/grants                                 all   all     all        own        -         -
GET    /v1/grants/{grant_id}                      all   all     all        own        -         -
GET    /v1/grants/{grant_id}/codes                all   -       -          own        -         -
GET    /v1/grants/{grant_id}/booklet.pdf          all   -       -          own        -         -
GET    /v1/grants/{grant_id}/booklet.html         all   -       -          own        -         -
GET    /v1/grants/export.csv                      all   all     -          own        -         -
POST   /v1/booklets                               all   -       -          own        -         -
GET    /v1/booklets                               all   -       -          own        -         -
# A preview names no grant. Of a person whom the caller names it says how much they had, whoever granted it.
POST   /v1/assessments                            all   -       -          all        -         -
# Cheques of a prescriber's own grants: cancelled, blocked, replaced, about to expire.
POST   /v1/cancellations                          all   -       -          own        -         -
GET    /v1/cancellations/{cancellation_id}        all   all     all        own        -         -
POST   /v1/blocks                                 all   -       -          own        -         -
POST   /v1/unblocks                               all   -       -          own        -         -
POST   /v1/replacements                           all   -       -          own        -         -
GET    /v1/replacements                           all   all     all        own        -         -
GET    /v1/replacements/{replacement_id}          all   -       -          own        -         -
GET    /v1/notices                                all   all     all        own        -         -
GET    /v1/expiring                               all   all     all        own        -         -
GET    /v1/expiring/grants.csv                    all   all     all        own        -         -
POST   /v1/expiring/warnings                      all   -       all        -          -         -
GET    /v1/cheques/export.csv                     all   all     -          -          -         -
# Codes of any cheque, while an operator is told of them.
POST   /v1/codes                                  -     -       -          -          -         operator_bridge
# People: a prescriber finds those to whom it granted something, sees its own grants to them, and has those forgotten
# to whom nobody else did.
POST   /v1/people/searches                        all   -       -          own        -         -
GET    /v1/people/{person_id}                     all   -       -          own        -         -
GET    /v1/people/{person_id}/export.json         all   -       -          own        -         -
GET    /v1/people/{person_id}/letter.pdf          all   -       -          own        -         -
PUT    /v1/people/{person_id}/identity            all   -       -          own        -         -
POST   /v1/people/{person_id}/erasure             all   -       -          own        -         -
GET    /v1/erasures                               all   -       -          -          -         -
POST   /v1/retention/runs                         all   -       -          -          -         -
# What another service asks for after it was restored from a backup.
GET    /v1/recollections/redemptions              -     -       -          -          -         redeemer
""")

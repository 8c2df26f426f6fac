-- Follows the first half of redeem.sql: whether a code could be redeemed, without any effect.
SELECT locked_out_until, value_cents, valid_until, programme, verdict, redeemed_at FROM judged

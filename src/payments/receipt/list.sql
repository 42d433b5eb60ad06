-- The receipts that are not done, or with $1 only the failed ones, in the order of the payments. Their lines are not needed.
select r.payment_id, null::text as refund_id, r.number, r.email, r.status, r.tries, r.next_try_at, r.last_error, p.amount,
       array[]::text[] as names, array[]::numeric[] as prices, array[]::integer[] as quantities, array[]::text[] as vats
from receipt r join payment p using (payment_id)
where r.status = 'FAILED' or (not $1 and r.status <> 'DONE')
union all
select f.payment_id, r.refund_id, r.number, s.email, r.status, r.tries, r.next_try_at, r.last_error, f.amount,
       array[]::text[], array[]::numeric[], array[]::integer[], array[]::text[]
from refund_receipt r join refund f using (refund_id) left join receipt s on s.payment_id = f.payment_id
where r.status = 'FAILED' or (not $1 and r.status <> 'DONE')
order by payment_id, refund_id nulls first

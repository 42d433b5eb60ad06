-- Claims the receipts that are due at $1 until $2, of payments and of refunds, and returns them with their lines. A line of a refund
-- that is not for whole units is one unit for the refunded part of the price.
with due as (
    select payment_id from receipt where status in ('QUEUED', 'REGISTERED') and next_try_at <= $1
    order by next_try_at limit 20 for update skip locked
), claimed as (
    update receipt r set next_try_at = $2, tries = tries + 1 from due
    where r.payment_id = due.payment_id returning r.*
), due_refunds as (
    select refund_id from refund_receipt where status in ('QUEUED', 'REGISTERED') and next_try_at <= $1
    order by next_try_at limit 20 for update skip locked
), claimed_refunds as (
    update refund_receipt r set next_try_at = $2, tries = tries + 1 from due_refunds
    where r.refund_id = due_refunds.refund_id returning r.*
)
select c.payment_id, null::text as refund_id, c.number, c.email, c.status, c.tries, c.next_try_at, c.last_error, p.amount,
       lines.*
from claimed c join payment p using (payment_id)
cross join lateral (
    select coalesce(array_agg(l.name order by l.position), '{}') as names,
           coalesce(array_agg(l.price order by l.position), '{}') as prices,
           coalesce(array_agg(l.quantity order by l.position), '{}') as quantities,
           coalesce(array_agg(l.vat order by l.position), '{}') as vats
    from payment_line l where l.payment_id = c.payment_id
) lines
union all
select f.payment_id, c.refund_id, c.number, s.email, c.status, c.tries, c.next_try_at, c.last_error, f.amount, lines.*
from claimed_refunds c join refund f using (refund_id) left join receipt s on s.payment_id = f.payment_id
cross join lateral (
    select coalesce(array_agg(l.name order by l.position), '{}'),
           coalesce(array_agg(case when whole then l.price else r.amount end order by l.position), '{}'),
           coalesce(array_agg(case when whole then r.units else 1 end order by l.position), '{}'),
           coalesce(array_agg(l.vat order by l.position), '{}')
    from (select r.*, r.units > 0 and r.amount = (r.units * p.price) as whole
          from refund_line r join payment_line p on p.payment_id = f.payment_id and p.item_id = r.item_id
          where r.refund_id = c.refund_id and r.amount > 0) r
    join payment_line l on l.payment_id = f.payment_id and l.item_id = r.item_id
) lines

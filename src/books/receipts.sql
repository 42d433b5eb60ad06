-- A receipt is of a paid order or a completed refund, and is registered in time. From the first payment with a receipt on, every payment
-- has one, and so does every refund of a payment with a receipt. $1: at most so many rows.
with off as (
    select r.payment_id, format('receipt-%s is of a payment that is %s', r.payment_id, p.status) as error
    from receipt r join payment p using (payment_id) where p.status <> 'COMPLETED'
    union all
    select payment_id, format('receipt-%s is %s and due since %s', payment_id, status, next_try_at)
    from receipt where status in ('QUEUED', 'REGISTERED') and next_try_at < now() - interval '1 day'
    union all
    select p.payment_id, format('payment %s was completed at %s and has no receipt', p.payment_id, p.completed_at)
    from payment p
    where p.status = 'COMPLETED' and p.amount > 0
      and p.completed_at >= (select min(f.completed_at) from receipt join payment f using (payment_id))
      and not exists (select from receipt r where r.payment_id = p.payment_id)
    union all
    select f.payment_id, format('the receipt of refund %s is of a refund that is %s', f.refund_id, f.status)
    from refund_receipt r join refund f using (refund_id) where f.status <> 'COMPLETED'
    union all
    select f.payment_id, format('the receipt of refund %s is %s and due since %s', f.refund_id, r.status, r.next_try_at)
    from refund_receipt r join refund f using (refund_id)
    where r.status in ('QUEUED', 'REGISTERED') and r.next_try_at < now() - interval '1 day'
    union all
    select f.payment_id, format('refund %s of payment %s is COMPLETED and has no receipt', f.refund_id, f.payment_id)
    from refund f join receipt s using (payment_id)
    where f.status = 'COMPLETED' and exists (select from refund_line l where l.refund_id = f.refund_id)
      and not exists (select from refund_receipt r where r.refund_id = f.refund_id)
)
select error from off order by payment_id, error limit $1

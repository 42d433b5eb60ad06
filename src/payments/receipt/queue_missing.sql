-- Queues the receipts of payments and refunds that were completed since $1 and have none, due at $2; returns their numbers.
with of_payments as (
    insert into receipt (payment_id, number, next_try_at)
    select p.payment_id, p.bank_order_id, $2::timestamptz from payment p
    where p.status = 'COMPLETED' and p.completed_at >= $1 and p.amount > 0
      and not exists (select from receipt r where r.payment_id = p.payment_id)
    order by p.payment_id limit 100
    on conflict do nothing returning number
), of_refunds as (
    insert into refund_receipt (refund_id, number, next_try_at)
    select f.refund_id, f.refund_id, $2::timestamptz from refund f
    where f.status = 'COMPLETED' and f.created_at >= $1
      and exists (select from refund_line l where l.refund_id = f.refund_id)
      and not exists (select from refund_receipt r where r.refund_id = f.refund_id)
    order by f.refund_id limit 100
    on conflict do nothing returning number
)
select number from of_payments union all select number from of_refunds

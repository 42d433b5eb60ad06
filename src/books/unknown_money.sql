-- Money without an order is attached to a payment that it has paid, or refunded, within a day. $1: at most so many rows.
with off as (
    select u.unknown_id,
           case
               when (u.status in ('ATTACHED', 'REFUNDED')) <> (u.closed_at is not null)
                   then format('unknown money %s is %s and closed at %s', u.unknown_id, u.status, coalesce(u.closed_at::text, 'no time'))
               when u.status = 'ATTACHED' and (a.bank_order_id <> u.bank_order_id or a.amount <> u.amount)
                   then format('unknown money %s is %s RUB of the order %s, and payment %s that it was attached to is %s RUB of the order %s',
                               u.unknown_id, u.amount, u.bank_order_id, a.payment_id, a.amount, a.bank_order_id)
               when u.status = 'ATTACHED' and (a.payment_id is null or a.status <> 'COMPLETED') and u.closed_at < now() - interval '1 hour'
                   then format('unknown money %s was attached to payment %s, which is %s', u.unknown_id, coalesce(u.payment_id::text, 'none'),
                               coalesce(a.status, 'unknown'))
               when u.status = 'REFUNDED' and o.status = 'COMPLETED'
                    and not exists (select from refund r where r.payment_id = o.payment_id and r.status <> 'DECLINED')
                   then format('unknown money %s was refunded, and payment %s of the same order is COMPLETED without a refund',
                               u.unknown_id, o.payment_id)
               when u.status in ('OPEN', 'REFUNDING') and o.status <> 'COMPLETED' and u.noticed_at < now() - interval '1 hour'
                   then format('unknown money %s is of the order of payment %s, which is %s', u.unknown_id, o.payment_id, o.status)
               when u.status in ('OPEN', 'REFUNDING') and o.payment_id is null and u.noticed_at < now() - interval '1 day'
                   then format('unknown money %s of %s RUB is %s since %s', u.unknown_id, u.amount, u.status, u.noticed_at)
           end as error
    from unknown_money u
    left join payment a on a.payment_id = u.payment_id
    left join payment o on o.bank_order_id = u.bank_order_id
)
select error from off where error is not null order by unknown_id limit $1

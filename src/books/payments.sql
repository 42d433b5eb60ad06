-- A payment costs what its lines cost, holds units only while it can be paid, is followed to its end, and is the only one of its order
-- that was paid, unless that is marked or settled or money went back. $1: at most so many rows.
with off as (
    select p.payment_id,
           case when l.cost is null then format('payment %s has no lines', p.payment_id)
                else format('payment %s is over %s RUB, and its lines cost %s', p.payment_id, p.amount, l.cost) end as error
    from payment p
    left join (select payment_id, sum(price * quantity) as cost from payment_line group by payment_id) l using (payment_id)
    where p.amount is distinct from l.cost
    union all
    select payment_id, format('payment %s is %s and holds units of the stock', payment_id, status)
    from payment where holds and status not in ('CREATED', 'WAITING')
    union all
    select payment_id, format('payment %s is still open, and its QR code expired at %s', payment_id, expires_at)
    from payment where status = 'CREATED' and expires_at < now() - interval '1 day'
    union all
    select payment_id, format('payment %s is %s and is not polled any more', payment_id, status)
    from payment where status in ('CREATED', 'WAITING') and look_at is null
    union all
    select p.payment_id, format('payment %s is the order %s, which payment %s has paid before', p.payment_id, p.site_order_id, f.payment_id)
    from payment p
    join lateral (
        select payment_id from payment f
        where f.owner = p.owner and f.site_order_id = p.site_order_id and f.status = 'COMPLETED'
          and (f.completed_at, f.payment_id) < (p.completed_at, p.payment_id)
        order by f.completed_at, f.payment_id limit 1
    ) f on true
    where p.status = 'COMPLETED' and not p.to_settle
      and not exists (select from settlement s where s.payment_id in (p.payment_id, f.payment_id))
      and not exists (select from refund r where r.payment_id in (p.payment_id, f.payment_id) and r.status <> 'DECLINED')
)
select error from off order by payment_id, error limit $1

-- A refund is of a paid order and costs what its lines cost, refunds are together no more than was paid, in all and of each line, and the
-- bank has answered. $1: at most so many rows.
with off as (
    select p.payment_id, format('payment %s is over %s RUB, and %s were refunded', p.payment_id, p.amount, r.refunded) as error
    from payment p
    join (select payment_id, sum(amount) as refunded from refund where status <> 'DECLINED' group by payment_id) r using (payment_id)
    where r.refunded > p.amount
    union all
    select r.payment_id, format('refund %s is of payment %s, which is %s', r.refund_id, r.payment_id, p.status)
    from refund r join payment p using (payment_id) where p.status <> 'COMPLETED' and r.status <> 'DECLINED'
    union all
    select r.payment_id, format('refund %s of payment %s is over %s RUB, and its lines come to %s', r.refund_id, r.payment_id, r.amount, l.amount)
    from refund r join (select refund_id, sum(amount) as amount from refund_line group by refund_id) l using (refund_id)
    where r.amount <> l.amount
    union all
    select l.payment_id, format('payment %s sold item %s for %s RUB, and %s were refunded', l.payment_id, l.item_id, l.price * l.quantity, r.amount)
    from payment_line l
    join (select f.payment_id, r.item_id, sum(r.amount) as amount from refund f join refund_line r using (refund_id)
          where f.status <> 'DECLINED' group by f.payment_id, r.item_id) r using (payment_id, item_id)
    where r.amount > l.price * l.quantity
    union all
    select payment_id, format('refund %s of payment %s was requested at %s, and the bank''s answer is unknown; refund again',
                              refund_id, payment_id, created_at)
    from refund where status = 'ASKED' and created_at < now() - interval '1 day'
)
select error from off order by payment_id, error limit $1

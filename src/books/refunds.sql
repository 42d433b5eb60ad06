-- A refund is of a paid order, refunds are together no more than was paid, and the bank has answered. $1: at most so many rows.
with off as (
    select p.payment_id, format('payment %s is over %s RUB, and %s were refunded', p.payment_id, p.amount, r.refunded) as error
    from payment p
    join (select payment_id, sum(amount) as refunded from refund where status <> 'DECLINED' group by payment_id) r using (payment_id)
    where r.refunded > p.amount
    union all
    select r.payment_id, format('refund %s is of payment %s, which is %s', r.refund_id, r.payment_id, p.status)
    from refund r join payment p using (payment_id) where p.status <> 'COMPLETED' and r.status <> 'DECLINED'
    union all
    select payment_id, format('refund %s of payment %s was requested at %s, and the bank''s answer is unknown; refund again',
                              refund_id, payment_id, created_at)
    from refund where status = 'ASKED' and created_at < now() - interval '1 day'
)
select error from off order by payment_id, error limit $1

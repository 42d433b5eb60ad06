-- A receipt is of a paid order, and is registered in time. $1: at most so many rows.
with off as (
    select r.payment_id, format('receipt-%s is of a payment that is %s', r.payment_id, p.status) as error
    from receipt r join payment p using (payment_id) where p.status <> 'COMPLETED'
    union all
    select payment_id, format('receipt-%s is %s and due since %s', payment_id, status, next_try_at)
    from receipt where status in ('QUEUED', 'REGISTERED') and next_try_at < now() - interval '1 day'
)
select error from off order by payment_id, error limit $1

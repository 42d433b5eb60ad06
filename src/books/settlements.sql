-- A payment that needs manual action says why, one that lacked units is marked until it is settled, and a settlement says what of and is
-- not older than its payment. $1: at most so many rows.
with off as (
    select payment_id, format('payment %s needs manual action, and nothing says why', payment_id) as error
    from payment where to_settle and coalesce(remark, '') = ''
    union all
    select p.payment_id, format('payment %s lacked %s units of item %s, and is neither marked nor settled', p.payment_id, l.short, l.item_id)
    from payment p join payment_line l using (payment_id)
    where l.short > 0 and p.status = 'COMPLETED' and not p.to_settle
      and not exists (select from settlement s where s.payment_id = p.payment_id)
    union all
    select s.payment_id,
           case when coalesce(s.reason, '') = ''
                then format('settlement %s of payment %s does not say what was settled', s.settlement_id, s.payment_id)
                else format('settlement %s of payment %s is of %s, before the payment', s.settlement_id, s.payment_id, s.settled_at) end
    from settlement s join payment p using (payment_id)
    where coalesce(s.reason, '') = '' or s.settled_at < p.created_at
)
select error from off order by payment_id, error limit $1

-- A mail about a payment is about a paid one, and goes to at most three addresses. $1: at most so many rows.
with about as (
    select m.mail_id, m.subject_key, substring(m.subject_key from '^payment:([0-9]{1,18})$')::bigint as payment_id
    from mail_outbox m where m.subject_key like 'payment:%'
), off as (
    select a.mail_id, case when p.payment_id is null then format('mail-%s is about %s, which does not exist', a.mail_id, a.subject_key)
                           else format('mail-%s is about payment %s, which is %s', a.mail_id, p.payment_id, p.status) end as error
    from about a left join payment p using (payment_id)
    where p.status is distinct from 'COMPLETED'
    union all
    select min(mail_id), format('%s mails are about %s, and three are allowed', count(*), subject_key)
    from about group by subject_key having count(*) > 3
)
select error from off order by mail_id, error limit $1

-- A queued mail is sent in time. $1: at most so many rows.
select format('mail-%s is due since %s', mail_id, next_try_at)
from mail_outbox where status = 'QUEUED' and next_try_at < now() - interval '1 day'
order by mail_id limit $1

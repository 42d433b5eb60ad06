-- Locks payment $1, and before its items the payments that its completion may remark on, in the order of their ids.
select p.payment_id from payment p
where p.payment_id = $1
   or p.status = 'COMPLETED'
      and p.completed_at >= (select created_at from payment where payment_id = $1)
      and p.owner = (select owner from payment where payment_id = $1)
order by p.payment_id for update

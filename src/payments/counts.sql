-- The payments in each of the statuses $1, those that need manual action, money without an order, and the receipts.
select array(select (select count(*) from payment where status = s)
             from unnest($1::text[]) with ordinality u (s, n) order by n) as by_state,
       (select count(*) from payment where to_settle) as to_settle,
       (select count(*) from unknown_money u
        where u.status in ('OPEN', 'REFUNDING')
          and not exists (select from payment p where p.bank_order_id = u.bank_order_id)) as unknown,
       (select count(*) from receipt where status in ('QUEUED', 'REGISTERED'))
           + (select count(*) from refund_receipt where status in ('QUEUED', 'REGISTERED')) as waiting,
       (select count(*) from receipt where status = 'FAILED')
           + (select count(*) from refund_receipt where status = 'FAILED') as failed,
       least((select min(completed_at) from receipt join payment using (payment_id)
              where receipt.status in ('QUEUED', 'REGISTERED')),
             (select min(created_at) from refund_receipt join refund using (refund_id)
              where refund_receipt.status in ('QUEUED', 'REGISTERED'))) as oldest

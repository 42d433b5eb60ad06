-- What is counted for /metrics every few seconds, however many payments there are.

create index payment_status_idx on payment (status);
create index payment_to_settle_idx on payment (payment_id) where to_settle;
create index receipt_failed_idx on receipt (payment_id) where status = 'FAILED';

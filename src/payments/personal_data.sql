-- The payments $1 as a JSON array, as text: numbers stay exact. $2: the owner keys of the person; a payment of another owner is one
-- whose front end named the person.
select coalesce(jsonb_agg(jsonb_build_object(
    'number', p.payment_id, 'order', p.site_order_id, 'status', p.status, 'fulfilment', p.fulfilment, 'amount', p.amount,
    'createdAt', p.created_at, 'completedAt', p.completed_at, 'address', host(p.address), 'siteuserID', p.site_user_id,
    'telegramUsername', p.telegram_username, 'own', p.owner = any ($2),
    'items', (select coalesce(jsonb_agg(jsonb_build_object(
                  'itemID', l.item_id, 'name', l.name, 'price', l.price, 'quantity', l.quantity) order by l.position), '[]')
              from payment_line l where l.payment_id = p.payment_id),
    'refunds', (select coalesce(jsonb_agg(jsonb_build_object(
                    'amount', r.amount, 'status', r.status, 'createdAt', r.created_at) order by r.created_at), '[]')
                from refund r where r.payment_id = p.payment_id),
    'receiptEmail', (select r.email from receipt r where r.payment_id = p.payment_id)
) order by p.payment_id), '[]')::text as data
from payment p where p.payment_id = any ($1)
